// @ts-check
// One number per position: how much each is looked at by some, or how much each looks at some.

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {{values: Float32Array, errorAt: (place: number) => number}} Profile `errorAt` says how far
 *   a value can be from the true one; few are asked for */

/** What some queries look at: the mean of their rows; of all rows where none is chosen.
 * @param {Scene} scene @param {number[]} queries @returns {Profile} */
export function lookedAt({ base, errorAt }, queries) {
  const { rows, columns, values } = base;
  const some = queries.length ? queries : Array.from({ length: rows }, (_, row) => row);
  const sums = new Float64Array(columns);
  for (const query of some) {
    for (let key = 0; key < columns; key += 1) sums[key] += values[query * columns + key];
  }
  return {
    values: Float32Array.from(sums, (sum) => sum / some.length),
    errorAt: (key) => some.reduce((total, query) => total + errorAt(query * columns + key), 0) / some.length,
  };
}

/** Who looks at some keys: the sum of their columns, which is a share of each query's attention.
 * @param {Scene} scene @param {number[]} keys @returns {Profile} */
export function lookers({ base, errorAt }, keys) {
  const { rows, columns } = base;
  const sum = (/** @type {number} */ row, /** @type {(index: number) => number} */ at) =>
    keys.reduce((total, key) => total + at(row * columns + key), 0);
  return {
    values: Float32Array.from({ length: rows }, (_, row) => sum(row, (index) => base.values[index])),
    errorAt: (row) => sum(row, errorAt),
  };
}
