// @ts-check
// Where the names and lines of the arrow graph lie: two sides, or one column with arcs beside it.
// Across is 0 to 1, down is one unit for each name.

/** @typedef {import("./edges.js").Edge} Edge */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {[number, number]} Point */
/** @typedef {{rows: number, names: {queries: number[], keys: number[]},
 *   queriesAcross: number, queryAt: (row: number) => number, keyAt: (column: number) => number,
 *   points: (edge: Edge) => Point[]}} Layout names are places in the whole axis, from the top, evenly
 *   over the height; queryAt and keyAt say how high a row and a column stand */

/** Queries on the left, keys on the right. A line leaves and arrives level, so that lines to one name
 * run together. @param {Scene} scene @returns {Layout} */
export function sides({ queries, keys }) {
  const rows = Math.max(queries.indices.length, keys.indices.length);
  const spread = (/** @type {number} */ place, /** @type {number} */ count) => ((place + 0.5) * rows) / count;
  const queryAt = (/** @type {number} */ row) => spread(row, queries.indices.length);
  const keyAt = (/** @type {number} */ column) => spread(column, keys.indices.length);
  return {
    rows,
    names: { queries: queries.indices, keys: keys.indices },
    queriesAcross: 0,
    queryAt,
    keyAt,
    points: ({ row, column }) => [
      [0, queryAt(row)],
      [0.3, queryAt(row)],
      [0.7, keyAt(column)],
      [1, keyAt(column)],
    ],
  };
}

/** One column of names. Arcs to what stands before bend to the right, the wider the farther, arcs to what
 * comes after to the left, where there are any; a look at oneself is a short stroke to the right.
 * @param {Scene} scene @param {number} half width of the column's half, as a share of all
 * @returns {Layout} */
export function arcs({ queries, keys, parts }, half) {
  const places = [...new Set([...queries.indices, ...keys.indices])].sort((a, b) => a - b);
  const lines = new Map(places.map((place, line) => [place, line + 0.5]));
  const at = (/** @type {number} */ place) => lines.get(place) ?? 0;
  const queryAt = (/** @type {number} */ row) => at(queries.indices[row]);
  const keyAt = (/** @type {number} */ column) => at(keys.indices[column]);
  const middle = looksAhead({ queries, keys, parts }) ? 0.5 : half;
  const room = 1 - half - middle;
  return {
    rows: places.length,
    names: { queries: places, keys: [] },
    queriesAcross: middle,
    queryAt,
    keyAt,
    points: ({ row, column }) => {
      const [from, to] = [queryAt(row), keyAt(column)];
      const side = to > from ? -1 : 1;
      const start = middle + side * half;
      if (from === to) return [[start, from], [start + 0.12 * room, from]];
      // A curve of this kind comes almost (23/24 of the way) to its middle points.
      const reach = start + side * room * Math.sqrt(Math.abs(to - from) / places.length);
      return [[start, from], [reach, from], [reach, to], [start, to]];
    },
  };
}

/** Tells whether any query looks at a later key; a causal model's do not.
 * @param {Pick<Scene, "queries" | "keys" | "parts">} scene */
function looksAhead({ queries, keys, parts }) {
  return parts.some(({ columns, values }) =>
    values.some((weight, index) => {
      const [row, column] = [Math.floor(index / columns), index % columns];
      return weight > 0 && keys.indices[column] > queries.indices[row];
    }),
  );
}
