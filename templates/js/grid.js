// @ts-check
// Where each head stands in the overview, and the one picture made of all small ones.
import { headNumbers } from "./numbers.js";
import { isKept, meanOf, spanOf } from "./scores.js";

/** @typedef {import("./weights.js").ReportDocument} ReportDocument */
/** @typedef {{layer: number, head: number, at: number, column: number, row: number,
 *   value: number | null, kept: boolean}} Cell `at` is the head's place among all small pictures,
 *   `kept` whether the filter leaves it; of a layer's mean `layer` and `head` are those of its map */
/** @typedef {{columns: number, rows: number, cells: Cell[], columnLabels: string[],
 *   rowLabels: string[], named: boolean}} Grid */
/** @typedef {{sort: string, tiles: "sorted" | "chart", atLeast: number}} Arrangement `sort` is "layer"
 *   or the name of a measure */

const GAP = 1;

/**
 * @param {ReportDocument} report @param {Arrangement} arrangement
 * @param {number} across how many small pictures fit beside each other
 * @returns {Grid}
 */
export function arranged(report, { sort, tiles, atLeast }, across) {
  const measure = report.measures.find(({ name }) => name === sort);
  const heads = everyHead(report, measure, atLeast);
  if (!measure || tiles === "chart") {
    return layered(report, [...heads, ...means(report, heads.length, measure, atLeast)]);
  }
  return ranked(heads.filter(({ kept }) => kept), across);
}

/** @param {ReportDocument} report @param {import("./scores.js").Measure | undefined} measure
 * @param {number} atLeast @returns {Cell[]} */
function everyHead(report, measure, atLeast) {
  let at = 0;
  const keptAt = filterOf(measure, atLeast);
  const valueOf = (/** @type {number} */ layer, /** @type {number} */ head) =>
    measure ? measure.values[layer][head] : null;
  const columns = headNumbers(report);
  return report.layers.flatMap(({ numbers }, layer) =>
    numbers.map((number, head) => ({
      layer,
      head,
      at: at++,
      column: columns.indexOf(number),
      row: layer,
      value: valueOf(layer, head),
      kept: keptAt(valueOf(layer, head)),
    })),
  );
}

/** Tells which values the filter leaves. @param {import("./scores.js").Measure | undefined} measure
 * @param {number} atLeast @returns {(value: number | null) => boolean} */
function filterOf(measure, atLeast) {
  const span = measure && spanOf(measure);
  return (value) => !span || isKept(value, span, atLeast);
}

/** The mean of each layer's heads, behind them; its value is the mean of theirs.
 * @param {ReportDocument} report @param {number} heads how many small pictures come before
 * @param {import("./scores.js").Measure | undefined} measure @param {number} atLeast
 * @returns {Cell[]} */
function means(report, heads, measure, atLeast) {
  const { layers, maps } = report;
  const column = headNumbers(report).length;
  const keptAt = filterOf(measure, atLeast);
  const valueOf = (/** @type {number} */ layer) => (measure ? meanOf(measure.values[layer]) : null);
  return maps.flatMap((map, place) =>
    (map.means ?? []).map((row, head) => ({
      layer: layers.length + place,
      head,
      at: heads + row,
      column,
      row,
      value: valueOf(row),
      kept: keptAt(valueOf(row)),
    })),
  );
}

/** @param {ReportDocument} report @param {Cell[]} cells @returns {Grid} */
function layered(report, cells) {
  const heads = headNumbers(report);
  const columns = 1 + Math.max(...cells.map(({ column }) => column));
  const several = report.groups.length > 1;
  const pair = (/** @type {number} */ layer) =>
    report.groups.find(({ layers }) => layers.includes(layer))?.short ?? "";
  return {
    columns,
    rows: report.layers.length,
    cells,
    columnLabels: Array.from({ length: columns }, (_, column) => String(heads[column] ?? "mean")),
    rowLabels: report.layers.map(({ number }, layer) => (several ? `${pair(layer)}  ${number}` : `layer ${number}`)),
    named: false,
  };
}

/** Largest value first; heads for which the measure has no meaning come last.
 * @param {Cell[]} heads @param {number} across @returns {Grid} */
function ranked(heads, across) {
  const order = [...heads].sort(
    (a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity) || a.at - b.at,
  );
  const columns = Math.max(1, Math.min(across, order.length));
  const cells = order.map((cell, place) => ({
    ...cell,
    column: place % columns,
    row: Math.floor(place / columns),
  }));
  return {
    columns,
    rows: Math.max(1, Math.ceil(order.length / columns)),
    cells,
    columnLabels: [],
    rowLabels: [],
    named: true,
  };
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
