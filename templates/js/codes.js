// @ts-check
// Codes to weights and weights to words. A code is round((levels - 1) * sqrt(w)).

/** The weight in the middle of a code's interval; NaN for the code that says "not a number".
 * @param {number} code @param {number} levels */
export function weightOfCode(code, levels) {
  return code >= levels ? NaN : (code / (levels - 1)) ** 2;
}

/** What all codes stand for. Each code is asked for once, which is far quicker than once for each weight.
 * @param {Uint8Array} codes @param {(code: number) => number} valueOf @returns {Float32Array} */
export function valuesOfCodes(codes, valueOf) {
  const table = Float32Array.from({ length: 256 }, (_, code) => valueOf(code));
  const values = new Float32Array(codes.length);
  for (let index = 0; index < codes.length; index += 1) values[index] = table[codes[index]];
  return values;
}

/** How far from `weight` the coded weight can have been.
 * @param {number} weight @param {number} levels */
export function errorOfWeight(weight, levels) {
  const half = 0.5 / (levels - 1);
  return (Math.sqrt(weight) + half) ** 2 - weight;
}

/** @param {number} weight @param {number} error 0 where the weight is exact */
export function weightText(weight, error) {
  if (Number.isNaN(weight)) return "NaN";
  if (!Number.isFinite(weight)) return "infinite";
  if (error > 0) {
    const digits = Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(error))));
    return `${weight.toFixed(digits)} ± ${error.toFixed(digits)}`;
  }
  if (weight > 0 && weight < 0.0001) return "< 0.0001";
  return weight.toFixed(4);
}

/** What goes before a number made of weights that may be rounded. @param {boolean} rounded */
export function about(rounded) {
  return rounded ? "about " : "";
}

/** What stands in a cell: two decimals without the leading zero, nothing below 0.005.
 * @param {number} weight */
export function cellNumber(weight) {
  if (!Number.isFinite(weight)) return "NaN";
  return weight < 0.005 ? "" : weight.toFixed(2).replace(/^0/, "");
}

/** Indices of the largest values of a row, largest first; what is not a number comes first.
 * @param {Float32Array} row @param {number} count */
export function strongest(row, count) {
  const size = (/** @type {number} */ index) => (Number.isNaN(row[index]) ? Infinity : row[index]);
  /** @type {number[]} */
  const top = [];
  for (let index = 0; index < row.length; index += 1) {
    let place = top.length;
    while (place > 0 && size(top[place - 1]) < size(index)) place -= 1;
    if (place === count) continue;
    top.splice(place, 0, index);
    top.length = Math.min(top.length, count);
  }
  return top;
}

/** Place of a value in its row, 1 for the largest. @param {Float32Array} row @param {number} at */
export function rankIn(row, at) {
  return 1 + row.reduce((larger, value) => larger + (value > row[at] ? 1 : 0), 0);
}
