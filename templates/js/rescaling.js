// @ts-check
// Rows scaled so that what is left of them adds up to 1, for whoever asks for it. Nothing is scaled
// unless asked: a row that puts all its weight on a hidden key would look as if it had a choice.

/** @typedef {import("./weights.js").Matrix} Matrix */

/**
 * @param {Matrix} matrix @param {number[]} kept columns that are left; all others become 0
 * @param {(index: number) => number} errorAt how far a weight can be from the true one
 * @returns {Matrix}
 */
export function rescaled({ rows, columns, values }, kept, errorAt) {
  const scaled = new Float32Array(values.length);
  const errors = new Float32Array(values.length);
  for (let row = 0; row < rows; row += 1) {
    const cells = kept.map((column) => row * columns + column);
    const finite = cells.filter((index) => Number.isFinite(values[index]));
    const sum = finite.reduce((total, index) => total + values[index], 0);
    const slack = finite.reduce((total, index) => total + errorAt(index), 0);
    for (const index of cells) {
      scaled[index] = sum > 0 ? values[index] / sum : values[index];
      // (w + e) / (S + s) is at most this far from w / S, for errors e of w and s of the sum S.
      const off = sum > slack ? (errorAt(index) + scaled[index] * slack) / (sum - slack) : 1;
      errors[index] = slack === 0 ? 0 : Math.min(1, off);
    }
  }
  return { rows, columns, values: scaled, errors };
}
