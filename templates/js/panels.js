// @ts-check
// How several copies of a picture lie beside each other in one chart, in pixels of the picture.

/** @typedef {{x: number, y: number}} Panel its upper left corner */
/** @typedef {{panels: Panel[], columns: number, across: number, down: number, size: number}} Layout
 *   `across` and `down` are the size of all together, `size` is screen pixels for one */
/** @typedef {{value: number, label: string}} Tick */
/** @typedef {{first: number, last: number, before: string, after: string}} Scale values at both edges */

const PANEL_GAP = 14;
const TITLE = 20;
const MOST_ENLARGED = 8;
const NEARLY = 0.85;

/** The lowest layout that fits into some room with panels nearly as large as they can be.
 * @param {number} count @param {{width: number, height: number}} picture
 * @param {{width: number, height: number}} room in screen pixels
 * @param {boolean} titled whether each panel has a line of text above it
 * @param {number} [least] how many panels must lie beside each other @returns {Layout} */
export function laidOut(count, { width, height }, room, titled, least = 1) {
  const title = titled ? TITLE : 0;
  const gap = count > 1 ? PANEL_GAP : 0;
  const sizeWith = (/** @type {number} */ columns) => {
    const rows = Math.ceil(count / columns);
    const wide = (room.width - (columns - 1) * gap) / columns / width;
    const high = (room.height - (rows - 1) * gap) / rows - title;
    return Math.min(wide, Math.max(high, 24) / height, MOST_ENLARGED);
  };
  const possible = Array.from({ length: count - least + 1 }, (_, more) => least + more);
  const enough = NEARLY * Math.max(...possible.map(sizeWith));
  const columns = possible.findLast((one) => sizeWith(one) >= enough) ?? least;
  const size = sizeWith(columns);
  const rows = Math.ceil(count / columns);
  const [pitchX, pitchY] = [width + gap / size, height + (gap + title) / size];
  return {
    panels: Array.from({ length: count }, (_, nth) => ({
      x: (nth % columns) * pitchX,
      y: Math.floor(nth / columns) * pitchY + title / size,
    })),
    columns,
    across: columns * pitchX - gap / size,
    down: rows * pitchY - gap / size,
    size,
  };
}

/** Marks along one side of the picture, for each panel that starts at one of `starts`: in its pixels,
 * or in what it measures.
 * @param {number} length of the side @param {number} size screen pixels for one
 * @param {number[]} starts @param {Scale} [scale] @returns {Tick[]} */
export function ticksOf(length, size, starts, scale) {
  const { first, last, before, after } = scale ?? { first: 0, last: length, before: "", after: "" };
  const [low, range] = [Math.min(first, last), Math.abs(last - first)];
  const least = ((60 / size) * range) / length;
  const power = 10 ** Math.floor(Math.log10(least));
  const round = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= least) ?? 1;
  const step = scale ? round : Math.max(1, round);
  const from = Math.ceil(low / step - 1e-9);
  const count = Math.floor((low + range) / step + 1e-9) - from + 1;
  const values = Array.from({ length: count }, (_, nth) => (from + nth) * step);
  return starts.flatMap((start) =>
    values.map((value) => ({
      value: start + ((value - first) / (last - first)) * length,
      label: before + Number(value.toPrecision(6)) + after,
    })),
  );
}
