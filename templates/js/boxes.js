// @ts-check
// Boxes of positions in a picture: which one is at a point, and whether they make an even grid.

/** @typedef {[number, number, number, number]} Box x0, y0, x1, y1 in pixels of the picture */
/** @typedef {{rows: number, columns: number, places: number[],
 *   extent: {x0: number, y0: number, x1: number, y1: number}}} Grid `places` has the position of
 *   each cell, row by row */

/** Rounding in the document: boxes are told to a ten-thousandth of a pixel. */
const SLACK = 0.001;

/** The position whose box holds a point, or -1. Boxes are half open, so that a seam has one owner.
 * @param {(Box | null)[]} boxes @param {number} x @param {number} y */
export function boxAt(boxes, x, y) {
  return boxes.findIndex((box) => box && x >= box[0] && x < box[2] && y >= box[1] && y < box[3]);
}

/** Whether boxes lie over each other, as those of frames do, or of tiles and the whole: together they
 * have more area than what is around them. @param {(Box | null)[]} boxes */
export function overlapping(boxes) {
  const known = /** @type {Box[]} */ (boxes.filter((box) => box));
  if (!known.length) return false;
  const [x0, y0] = [0, 1].map((side) => Math.min(...known.map((box) => box[side])));
  const [x1, y1] = [2, 3].map((side) => Math.max(...known.map((box) => box[side])));
  const sum = known.reduce((total, box) => total + (box[2] - box[0]) * (box[3] - box[1]), 0);
  return sum > 1.01 * (x1 - x0) * (y1 - y0);
}

/** The grid that the boxes make, or null where they make none: cells of one size, none missing,
 * none twice. @param {(Box | null)[]} boxes @returns {Grid | null} */
export function gridOf(boxes) {
  const known = /** @type {Box[]} */ (boxes.filter((box) => box));
  if (!known.length) return null;
  const [x0, y0] = [0, 1].map((side) => Math.min(...known.map((box) => box[side])));
  const [x1, y1] = [2, 3].map((side) => Math.max(...known.map((box) => box[side])));
  const [width, height] = [known[0][2] - known[0][0], known[0][3] - known[0][1]];
  const [columns, rows] = [Math.round((x1 - x0) / width), Math.round((y1 - y0) / height)];
  if (columns * rows !== known.length) return null;
  const across = (x1 - x0) / columns;
  const down = (y1 - y0) / rows;
  /** @type {number[]} */
  const places = Array(columns * rows).fill(-1);
  for (const [index, box] of boxes.entries()) {
    if (!box) continue;
    const column = Math.round((box[0] - x0) / across);
    const row = Math.round((box[1] - y0) / down);
    const even = [
      x0 + column * across, y0 + row * down, x0 + (column + 1) * across, y0 + (row + 1) * down,
    ].every((side, nth) => Math.abs(side - box[nth]) <= SLACK);
    if (!even || places[row * columns + column] !== -1) return null;
    places[row * columns + column] = index;
  }
  return { rows, columns, places, extent: { x0, y0, x1, y1 } };
}
