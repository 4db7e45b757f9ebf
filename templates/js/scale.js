// @ts-check
// From a weight to a place on the colour scale, 0 to 1, and the marks of the colour bar.

/** @typedef {"sqrt" | "linear" | "log"} ScaleName */
/** @typedef {"fixed" | "row"} RangeName fixed: 0 to 1; row: 0 to the largest weight of the row */

export const SCALES = /** @type {ScaleName[]} */ (["sqrt", "linear", "log"]);
export const RANGES = /** @type {RangeName[]} */ (["fixed", "row"]);

/** @typedef {{top: number, signed: boolean}} Extent the value of full colour; with `signed` values
 *   go down to -top, and 0 has the colour in the middle */

/** A weight goes from 0 to 1. @type {Extent} */
export const WEIGHT = { top: 1, signed: false };

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

/** @param {ScaleName} scale @param {number} value @param {Extent} extent
 * @returns {number} in [0, 1] */
export function placeOf(scale, value, { top, signed } = WEIGHT) {
  const place = PLACES[scale](Math.min(1, Math.abs(value) / top));
  return signed ? 0.5 + (Math.sign(value) * place) / 2 : place;
}

/** @param {ScaleName} scale @param {Extent} extent @returns {{place: number, label: string}[]} */
export function marksOf(scale, extent = WEIGHT) {
  const above = MARKS[scale].map((share) => ({
    place: placeOf(scale, share * extent.top, extent),
    label: `${scale === "log" && share === LOG_FLOOR ? "≤ " : ""}${short(share * extent.top)}`,
  }));
  // Longer numbers, or twice as many, have half the room: every other one, from its end.
  const half = above.filter((_, at) => (above.length - at) % 2);
  if (!extent.signed) return above[above.length - 1].label.length > 4 ? half : above;
  const some = half.filter(({ place }) => place > 0.5);
  const below = some.map(({ place, label }) => ({ place: 1 - place, label: `−${label}` }));
  return [...below.reverse(), { place: 0.5, label: "0" }, ...some];
}

/** Three digits are what a mark has room for. @param {number} value */
function short(value) {
  return String(Number(value.toPrecision(3)));
}

/** @param {ScaleName} scale @param {RangeName} range @param {Extent} extent
 * @param {string} what the values are called @returns {string} */
export function scaleWords(scale, range, extent = WEIGHT, what = "weight") {
  const shape = { sqrt: "√ scale", linear: "linear scale", log: "log scale" }[scale];
  const bounds = `from ${extent.signed ? `−${short(extent.top)}` : 0} to ${short(extent.top)}`;
  const span = range === "fixed" ? `${what}, ${bounds}` : `${what} as a share of its row's largest`;
  return `colour: ${span}, ${shape}`;
}

/**
 * The code of every weight on a colour scale: 0 to levels - 1, and `levels` for not a number.
 * @param {import("./weights.js").Matrix} matrix
 * @param {ScaleName} scale @param {RangeName} range @param {number} levels
 * @param {Extent} extent
 * @returns {Uint8Array}
 */
export function coloursOf({ rows, columns, values }, scale, range, levels, extent = WEIGHT) {
  const codes = new Uint8Array(values.length);
  for (let row = 0; row < rows; row += 1) {
    const start = row * columns;
    const top = range === "row" ? largest(values, start, columns) || 1 : extent.top;
    const within = { top, signed: extent.signed };
    for (let index = start; index < start + columns; index += 1) {
      const weight = values[index];
      codes[index] = Number.isFinite(weight)
        ? Math.round(placeOf(scale, weight, within) * (levels - 1))
        : levels;
    }
  }
  return codes;
}

/** @param {Float32Array} values @param {number} start @param {number} length */
function largest(values, start, length) {
  let most = 0;
  for (let index = start; index < start + length; index += 1) {
    const size = Math.abs(values[index]);
    if (size > most && Number.isFinite(size)) most = size;
  }
  return most;
}
