// @ts-check
// From a weight to a place on the colour scale, 0 to 1, and the marks of the colour bar.

/** @typedef {"sqrt" | "linear" | "log"} ScaleName */
/** @typedef {"fixed" | "row"} RangeName fixed: 0 to 1; row: 0 to the largest weight of the row */

export const SCALES = /** @type {ScaleName[]} */ (["sqrt", "linear", "log"]);
export const RANGES = /** @type {RangeName[]} */ (["fixed", "row"]);

/** The log scale ends here: four decades, and everything smaller has the first colour. */
const LOG_FLOOR = 1e-4;

/** @type {Record<ScaleName, (weight: number) => number>} */
const PLACES = {
  sqrt: Math.sqrt,
  linear: (weight) => weight,
  log: (weight) => (weight <= LOG_FLOOR ? 0 : 1 - Math.log10(weight) / Math.log10(LOG_FLOOR)),
};

/** @type {Record<ScaleName, number[]>} */
const MARKS = {
  sqrt: [0, 0.01, 0.05, 0.15, 0.3, 0.6, 1],
  linear: [0, 0.25, 0.5, 0.75, 1],
  log: [0.0001, 0.001, 0.01, 0.1, 1],
};

/** @param {ScaleName} scale @param {number} weight in [0, 1] @returns {number} in [0, 1] */
export function placeOf(scale, weight) {
  return PLACES[scale](Math.min(1, weight));
}

/** @param {ScaleName} scale @returns {{place: number, label: string}[]} */
export function marksOf(scale) {
  return MARKS[scale].map((weight) => ({
    place: placeOf(scale, weight),
    label: scale === "log" && weight === LOG_FLOOR ? `≤ ${weight}` : String(weight),
  }));
}

/** @param {ScaleName} scale @param {RangeName} range @returns {string} */
export function scaleWords(scale, range) {
  const shape = { sqrt: "√ scale", linear: "linear scale", log: "log scale" }[scale];
  const span = range === "fixed" ? "weight, from 0 to 1" : "weight as a share of its row's largest";
  return `colour: ${span}, ${shape}`;
}

/**
 * The code of every weight on a colour scale: 0 to levels - 1, and `levels` for not a number.
 * @param {import("./weights.js").Matrix} matrix
 * @param {ScaleName} scale @param {RangeName} range @param {number} levels
 * @returns {Uint8Array}
 */
export function coloursOf({ rows, columns, values }, scale, range, levels) {
  const codes = new Uint8Array(values.length);
  for (let row = 0; row < rows; row += 1) {
    const start = row * columns;
    const top = range === "row" ? largest(values, start, columns) || 1 : 1;
    for (let index = start; index < start + columns; index += 1) {
      const weight = values[index];
      codes[index] = Number.isFinite(weight)
        ? Math.round(placeOf(scale, weight / top) * (levels - 1))
        : levels;
    }
  }
  return codes;
}

/** @param {Float32Array} values @param {number} start @param {number} length */
function largest(values, start, length) {
  let most = 0;
  for (let index = start; index < start + length; index += 1) {
    if (values[index] > most && Number.isFinite(values[index])) most = values[index];
  }
  return most;
}
