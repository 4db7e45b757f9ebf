// @ts-check
// Contour lines: around the fewest patches that together hold a share of the weight. Exact ones
// follow the edges of patches; smooth ones run between their middles, where values are interpolated.

/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {import("./boxes.js").Grid} Grid */
/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Segment in pixels of the picture */
/** @typedef {{members: Set<number>, level: number}} Held the patches that hold a share, and the
 *   weight halfway between the least of them and the largest of the others */

/** The fewest patches that hold a share of all that patches hold, the heaviest first.
 * @param {Float32Array} values @param {(Box | null)[]} boxes @param {number} share @returns {Held} */
export function holding(values, boxes, share) {
  const patches = Array.from(boxes.keys()).filter((index) => boxes[index] && values[index] > 0);
  patches.sort((a, b) => values[b] - values[a] || a - b);
  const wanted = share * patches.reduce((sum, index) => sum + values[index], 0);
  let held = 0;
  let count = 0;
  while (count < patches.length && held < wanted) {
    held += values[patches[count]];
    count += 1;
  }
  const least = count ? values[patches[count - 1]] : 0;
  const next = count < patches.length ? values[patches[count]] : 0;
  return { members: new Set(patches.slice(0, count)), level: (least + next) / 2 };
}

/** The outer edges of some patches: an edge that two of them share is inside and left out.
 * @param {(Box | null)[]} boxes @param {Set<number>} members @returns {Segment[]} */
export function outlines(boxes, members) {
  /** @type {Map<string, Segment | null>} */
  const edges = new Map();
  for (const index of members) {
    const [x0, y0, x1, y1] = /** @type {Box} */ (boxes[index]);
    for (const edge of [
      { x0, y0, x1, y1: y0 }, { x0, y0: y1, x1, y1 }, { x0, y0, x1: x0, y1 }, { x0: x1, y0, x1, y1 },
    ]) {
      const name = [edge.x0, edge.y0, edge.x1, edge.y1].map((side) => side.toFixed(2)).join();
      edges.set(name, edges.has(name) ? null : edge);
    }
  }
  return [...edges.values()].flatMap((edge) => edge ?? []);
}

/** Where the value interpolated between the middles of patches crosses a level (marching squares,
 * Lorensen & Cline 1987 in two dimensions). Half a patch around the outer middles has their value.
 * @param {Float32Array} values of every position @param {Grid} grid @param {number} level
 * @returns {Segment[]} */
export function isolines(values, grid, level) {
  const [columns, rows] = [knots(grid.columns), knots(grid.rows)];
  const { x0, y0, x1, y1 } = grid.extent;
  const at = (/** @type {number} */ row, /** @type {number} */ column) => ({
    x: x0 + (columns[column].place / grid.columns) * (x1 - x0),
    y: y0 + (rows[row].place / grid.rows) * (y1 - y0),
    value: values[grid.places[rows[row].index * grid.columns + columns[column].index]],
  });
  /** @type {Segment[]} */
  const found = [];
  for (let row = 0; row + 1 < rows.length; row += 1) {
    for (let column = 0; column + 1 < columns.length; column += 1) {
      const corners = [
        at(row, column), at(row, column + 1), at(row + 1, column + 1), at(row + 1, column),
      ];
      found.push(...crossing(corners, level));
    }
  }
  return found;
}

/** Where values are known along a side, in patches from its start: the middles and both ends.
 * @param {number} count */
function knots(count) {
  const middles = Array.from({ length: count }, (_, index) => ({ index, place: index + 0.5 }));
  return [{ index: 0, place: 0 }, ...middles, { index: count - 1, place: count }];
}

/** The lines through one square of four corners, given in turn.
 * @param {{x: number, y: number, value: number}[]} corners @param {number} level
 * @returns {Segment[]} */
function crossing(corners, level) {
  const points = corners.flatMap((from, nth) => {
    const to = corners[(nth + 1) % 4];
    if (from.value >= level === to.value >= level) return [];
    const share = (level - from.value) / (to.value - from.value);
    return [{ x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) }];
  });
  // With four crossings the middle decides which corners belong together.
  const high = corners.reduce((sum, { value }) => sum + value / 4, 0) >= level;
  if (points.length === 4 && high !== corners[0].value >= level) points.unshift(...points.splice(3));
  /** @type {Segment[]} */
  const lines = [];
  for (let nth = 0; nth + 1 < points.length; nth += 2) {
    const [from, to] = [points[nth], points[nth + 1]];
    lines.push({ x0: from.x, y0: from.y, x1: to.x, y1: to.y });
  }
  return lines;
}
