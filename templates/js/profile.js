// @ts-check
// One number per position: how much each is looked at by some, or how much each looks at some.

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {{values: Float32Array, errors: Float32Array}} Profile `errors` say how far each value
 *   can be from the true one */

/** What some queries look at: the mean of their rows; of all rows where none is chosen.
 * @param {Scene} scene @param {number[]} queries @returns {Profile} */
export function lookedAt({ base, errorAt }, queries) {
  const { rows, columns, values } = base;
  const some = queries.length ? queries : Array.from({ length: rows }, (_, row) => row);
  const sums = new Float64Array(columns);
  const errors = new Float64Array(columns);
  for (const query of some) {
    for (let key = 0; key < columns; key += 1) {
      sums[key] += values[query * columns + key];
      errors[key] += errorAt(query * columns + key);
    }
  }
  const mean = (/** @type {Float64Array} */ all) => Float32Array.from(all, (sum) => sum / some.length);
  return { values: mean(sums), errors: mean(errors) };
}

/** Who looks at some keys: the sum of their columns, which is a share of each query's attention.
 * @param {Scene} scene @param {number[]} keys @returns {Profile} */
export function lookers({ base, errorAt }, keys) {
  const { rows, columns } = base;
  const sum = (/** @type {(index: number) => number} */ at) =>
    Float32Array.from({ length: rows }, (_, row) =>
      keys.reduce((total, key) => total + at(row * columns + key), 0),
    );
  return { values: sum((index) => base.values[index]), errors: sum(errorAt) };
}
