// @ts-check
// From a matrix of weights to what is laid over a picture: one number for each position, as it is or
// interpolated between the middles of patches. Knows no chart.

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {"queries" | "keys"} Side */

/** The most pixels of an interpolated map: more than a screen shows would only take time. */
const SMOOTH_PIXELS = 1 << 17;

/** The weights to draw: a query's row, the mean of all rows, or a key's column.
 * @param {Matrix} matrix @param {Side} shown @param {number | null} chosen @returns {Float32Array} */
export function mapOf({ rows, columns, values }, shown, chosen) {
  if (shown === "queries") {
    return Float32Array.from({ length: rows }, (_, row) =>
      chosen === null ? 0 : values[row * columns + chosen],
    );
  }
  if (chosen !== null) return values.slice(chosen * columns, (chosen + 1) * columns);
  const mean = new Float32Array(columns);
  for (let index = 0; index < values.length; index += 1) mean[index % columns] += values[index] / rows;
  return mean;
}

/** How finely to interpolate: this many steps for each patch and direction.
 * @param {number} rows @param {number} columns */
export function smoothness(rows, columns) {
  return Math.max(1, Math.min(12, Math.floor(Math.sqrt(SMOOTH_PIXELS / (rows * columns)))));
}

/** Values between the middles of patches, bilinear; outside the outer middles the nearest one.
 * @param {Float32Array} values row by row @param {number} rows @param {number} columns
 * @param {number} factor how many for each patch, in each direction
 * @returns {Float32Array} row by row, `factor` times as many both ways */
export function interpolated(values, rows, columns, factor) {
  const across = steps(columns, factor);
  const finer = new Float32Array(rows * columns * factor * factor);
  let at = 0;
  for (const down of steps(rows, factor)) {
    const [above, below] = [down.first * columns, down.second * columns];
    for (const { first, second, share } of across) {
      const top = values[above + first] * (1 - share) + values[above + second] * share;
      const bottom = values[below + first] * (1 - share) + values[below + second] * share;
      finer[at] = top * (1 - down.share) + bottom * down.share;
      at += 1;
    }
  }
  return finer;
}

/** For each step along a side: the two patches whose middles it lies between, and how far it is from
 * the first to the second. @param {number} count @param {number} factor */
function steps(count, factor) {
  return Array.from({ length: count * factor }, (_, step) => {
    const place = Math.min(count - 1, Math.max(0, (step + 0.5) / factor - 0.5));
    const first = Math.min(count - 1, Math.floor(place));
    return { first, second: Math.min(count - 1, first + 1), share: place - first };
  });
}
