// @ts-check
// The largest weights of every row, which the page tells more closely than their codes. The bytes
// are those of attnreport/page/refining.py, where their order is written down.
import { valuesOfCodes, weightOfCode } from "./codes.js";

const TOLD_CLOSELY = 8;
const EXACT_TO = 1e-6;

/**
 * @param {Uint8Array} codes @param {number} rows @param {number} columns @param {number} levels
 * @param {Uint8Array} bytes
 * @returns {{rows: number, columns: number, values: Float32Array, sure: Uint8Array}} `sure` is 1
 *   where a value is right to EXACT_TO
 */
export function refined(codes, rows, columns, levels, bytes) {
  const values = valuesOfCodes(codes, (code) => weightOfCode(code, levels));
  const sure = new Uint8Array(codes.length);
  const take = bitReader(bytes);
  const row = (/** @type {number} */ at) => [at * columns, (at + 1) * columns];
  for (let at = 0; at < rows; at += 1) {
    markLargest(codes.subarray(...row(at)), sure.subarray(...row(at)), levels, take);
  }
  const widths = Array.from({ length: levels }, (_, code) => widthOf(code, levels));
  for (let index = 0; index < codes.length; index += 1) {
    if (!sure[index]) continue;
    const width = widths[codes[index]];
    const place = codes[index] + take(width) / (2 ** width - 2) - 0.5;
    values[index] = Math.min(1, Math.max(0, (place / (levels - 1)) ** 2));
  }
  for (let at = 0; at < rows; at += 1) keepOrder(values.subarray(...row(at)), sure.subarray(...row(at)));
  return { rows, columns, values, sure };
}

/** How many bits tell a weight in a code's interval. @param {number} code @param {number} levels */
function widthOf(code, levels) {
  const steps = (2 * code + 1) / EXACT_TO / (2 * (levels - 1) ** 2);
  return Math.ceil(Math.log2(steps + 2));
}

/** Mark the cells with the largest codes; which of equals, is read.
 * @param {Uint8Array} codes @param {Uint8Array} marks @param {number} levels
 * @param {(width: number) => number} take */
function markLargest(codes, marks, levels, take) {
  const counts = new Uint32Array(levels);
  for (let index = 0; index < codes.length; index += 1) {
    if (codes[index] < levels) counts[codes[index]] += 1;
  }
  let least = levels;
  let above = 0;
  while (least > 0 && (least === levels || above + counts[least] < TOLD_CLOSELY)) {
    if (least < levels) above += counts[least];
    least -= 1;
  }
  const equals = counts[least];
  const wanted = Math.min(equals, TOLD_CLOSELY - above);
  const places = new Set();
  if (equals > wanted) {
    const width = 32 - Math.clz32(equals - 1);
    for (let place = 0; place < wanted; place += 1) places.add(take(width));
  }
  let seen = 0;
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index];
    if (code > least && code < levels) marks[index] = 1;
    if (code !== least) continue;
    if (equals === wanted || places.has(seen)) marks[index] = 1;
    seen += 1;
  }
}

/** A cell that was not told closely is not larger than one that was, whatever its code's middle.
 * @param {Float32Array} values @param {Uint8Array} sure */
function keepOrder(values, sure) {
  let floor = 1;
  for (let index = 0; index < values.length; index += 1) {
    if (sure[index] && values[index] < floor) floor = values[index];
  }
  for (let index = 0; index < values.length; index += 1) {
    if (!sure[index] && values[index] > floor) values[index] = floor;
  }
}

/** Numbers of a few bits each, high bits first. @param {Uint8Array} bytes */
function bitReader(bytes) {
  let at = 0;
  return (/** @type {number} */ width) => {
    let number = 0;
    for (const end = at + width; at < end; at += 1) {
      number = number * 2 + ((bytes[at >> 3] >> (7 - (at & 7))) & 1);
    }
    return number;
  };
}
