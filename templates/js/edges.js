// @ts-check
// Which weights become lines: the strongest first, and how much of all weight they hold.

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {{row: number, column: number, weight: number, part: number}} Edge */
/** @typedef {{row: number, column: number}} Only the row and the column that are wanted, -1 for all */

/**
 * The strongest weights of several matrices.
 * @param {Matrix[]} parts @param {number} most how many at the most
 * @param {number} least the smallest weight that counts as strong @param {Only} only
 * @returns {{edges: Edge[], share: number}} share: what the edges hold of all weight that is wanted
 */
export function strongestEdges(parts, most, least, only) {
  /** @type {number[]} */
  const weights = [];
  let all = 0;
  for (const part of parts) {
    eachWeight(part, only, (weight) => {
      weights.push(weight);
      all += weight;
    });
  }
  const bound = Math.max(least, boundOf(weights, most));
  /** @type {Edge[]} */
  const edges = [];
  parts.forEach((matrix, part) => {
    eachWeight(matrix, only, (weight, row, column) => {
      if (weight >= bound) edges.push({ row, column, weight, part });
    });
  });
  edges.sort((a, b) => b.weight - a.weight);
  const kept = edges.slice(0, most);
  const held = kept.reduce((total, { weight }) => total + weight, 0);
  return { edges: kept, share: all ? held / all : 0 };
}

/** Go through the weights that are wanted and can become lines, and through no others: pointing at a
 * name of a long text must not cost its whole matrix.
 * @param {Matrix} matrix @param {Only} only
 * @param {(weight: number, row: number, column: number) => void} act */
function eachWeight({ rows, columns, values }, only, act) {
  const [top, bottom] = only.row < 0 ? [0, rows] : [only.row, only.row + 1];
  const [left, right] = only.column < 0 ? [0, columns] : [only.column, only.column + 1];
  for (let row = top; row < bottom; row += 1) {
    for (let column = left; column < right; column += 1) {
      const weight = values[row * columns + column];
      if (weight > 0 && Number.isFinite(weight)) act(weight, row, column);
    }
  }
}

/** The smallest weight among the strongest. @param {number[]} weights @param {number} most */
function boundOf(weights, most) {
  const sorted = Float32Array.from(weights).sort();
  return sorted.length > most ? sorted[sorted.length - most] : 0;
}
