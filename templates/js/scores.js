// @ts-check
// Head scores as colours and bounds: the layer × head chart of a measure, and which heads are kept.

/** @typedef {{name: string, range: [number | null, number | null], values: (number | null)[][]}} Measure
 *   `range`: the smallest and largest value it can take, null where the input decides */
/** @typedef {{low: number, high: number}} Span */

/** From the smallest to the largest value that a measure can take; where that is not known, to the
 * largest that it took. @param {Measure} measure @returns {Span} */
export function spanOf({ range: [least, most], values }) {
  const known = /** @type {number[]} */ (values.flat().filter((value) => value !== null));
  const low = least ?? Math.min(...known, 0);
  return { low, high: most ?? Math.max(low, ...known) };
}

/** The mean of those that are known. @param {(number | null)[]} values */
export function meanOf(values) {
  const known = /** @type {number[]} */ (values.filter((value) => value !== null));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** The value at a place of the filter. @param {Span} span @param {number} least in hundredths */
export function valueAt({ low, high }, least) {
  return low + ((high - low) * least) / 100;
}

/** Whether a head is kept by the filter; without one all are, those without a score too.
 * @param {number | null} value @param {Span} span @param {number} least in hundredths */
export function isKept(value, span, least) {
  return least === 0 || (value !== null && value >= valueAt(span, least));
}

/**
 * The chart's pixels, one for each head: code 0 for the smallest value, `levels` - 2 for the largest,
 * `levels` - 1 where there is no head or it is not kept, `levels` where the head has no score.
 * @param {import("./grid.js").Grid} grid @param {Span} span @param {number} levels
 */
export function scoreCodes({ columns, rows, cells }, { low, high }, levels) {
  const codes = new Uint8Array(columns * rows).fill(levels - 1);
  for (const { column, row, value, kept } of cells) {
    if (!kept) continue;
    const place = high > low ? ((value ?? 0) - low) / (high - low) : 0;
    codes[row * columns + column] =
      value === null ? levels : Math.round(Math.min(1, Math.max(0, place)) * (levels - 2));
  }
  return codes;
}

/** @param {number | null} value */
export function valueText(value) {
  if (value === null) return "–";
  return Math.abs(value) < 10 ? value.toFixed(2).replace(/^0\./, ".") : value.toFixed(0);
}
