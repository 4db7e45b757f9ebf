// @ts-check
// Where each head stands in the overview, and the one picture made of all small ones.

/** @typedef {import("./weights.js").ReportDocument} ReportDocument */
/** @typedef {{layer: number, head: number, at: number, column: number, row: number,
 *   value: number | null}} Cell `at` is the head's place among all small pictures */
/** @typedef {{columns: number, rows: number, cells: Cell[], columnLabels: string[],
 *   rowLabels: string[], names: {x: number, y: number, text: string}[], named: boolean}} Grid */

const GAP = 1;

/**
 * @param {ReportDocument} report @param {string} sort "layer" or the name of a measure
 * @param {number} across how many small pictures fit beside each other
 * @returns {Grid}
 */
export function arranged(report, sort, across) {
  const measure = report.measures.find(({ name }) => name === sort);
  const heads = everyHead(report, measure?.values);
  return measure ? ranked(heads, across) : layered(report, heads);
}

/** @param {ReportDocument} report @param {(number | null)[][] | undefined} values */
function everyHead(report, values) {
  let at = 0;
  return report.layers.flatMap(({ heads }, layer) =>
    Array.from({ length: heads }, (_, head) => ({
      layer,
      head,
      at: at++,
      column: head,
      row: layer,
      value: values ? values[layer][head] : null,
    })),
  );
}

/** @param {ReportDocument} report @param {Cell[]} cells @returns {Grid} */
function layered(report, cells) {
  const columns = Math.max(...report.layers.map(({ heads }) => heads));
  const several = report.groups.length > 1;
  const pair = (/** @type {number} */ layer) =>
    report.groups.find(({ layers }) => layers.includes(layer))?.short ?? "";
  return {
    columns,
    rows: report.layers.length,
    cells,
    columnLabels: Array.from({ length: columns }, (_, head) => String(head)),
    rowLabels: report.layers.map((_, layer) => (several ? `${pair(layer)}  ${layer}` : `layer ${layer}`)),
    names: [],
    named: false,
  };
}

/** Largest value first; heads for which the measure has no meaning come last.
 * @param {Cell[]} heads @param {number} across @returns {Grid} */
function ranked(heads, across) {
  const order = [...heads].sort(
    (a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity) || a.at - b.at,
  );
  const columns = Math.min(across, order.length);
  const cells = order.map((cell, place) => ({
    ...cell,
    column: place % columns,
    row: Math.floor(place / columns),
  }));
  return {
    columns,
    rows: Math.ceil(order.length / columns),
    cells,
    columnLabels: [],
    rowLabels: [],
    names: cells.map(({ layer, head, value, column, row }) => ({
      x: column + 0.5,
      y: row + 0.9,
      text: `${layer}.${head} ${valueText(value)}`,
    })),
    named: true,
  };
}

/** @param {number | null} value */
export function valueText(value) {
  if (value === null) return "–";
  return Math.abs(value) < 10 ? value.toFixed(2).replace(/^0\./, ".") : value.toFixed(0);
}

/** @param {Grid} grid @param {number} layer @param {number} head */
export function placeOfHead(grid, layer, head) {
  return grid.cells.find((cell) => cell.layer === layer && cell.head === head) ?? null;
}

/**
 * Put all small pictures into one, a gap around each; in a named grid a strip under each stays free.
 * @param {Uint8Array} codes @param {number} side @param {Grid} grid
 */
export function composed(codes, side, { columns, rows, cells, named }) {
  const pitch = side + 2 * GAP;
  const inner = named ? Math.floor(side * 0.8) : side;
  const width = columns * pitch;
  const height = rows * pitch;
  const whole = new Uint8Array(width * height);
  for (const { at, column, row } of cells) {
    for (let line = 0; line < inner; line += 1) {
      const from = (at * side + Math.floor((line * side) / inner)) * side;
      const to = (row * pitch + GAP + line) * width + column * pitch + GAP;
      whole.set(codes.subarray(from, from + side), to);
    }
  }
  return { codes: whole, width, height };
}
