// @ts-check
// Pointer and keys on a view: which cell is pointed at, which one is kept.
import { element } from "./dom.js";
import { mapAt, titleOfMap } from "./maps.js";
import { numbersOf } from "./numbers.js";
import { valueText } from "./scores.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./page.js").View} View */

/** @param {Page} page @param {string} name of the view */
export function listenToView(page, name) {
  const live = element(`${name}-live`);
  const cellAt = (/** @type {MouseEvent} */ event) => page.views.get(name)?.cellAt(event) ?? null;
  live.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (cell) page.point(...cell);
  });
  live.addEventListener("pointerleave", () => page.point(page.state.query, page.state.key));
  live.addEventListener("click", (event) => {
    const cell = cellAt(event);
    const view = page.views.get(name);
    const several = event.shiftKey || event.ctrlKey || event.metaKey;
    if (cell && several && view?.extended) page.go(view.extended(cell, event.shiftKey));
    else if (cell) page.pin(...cell);
  });
  live.addEventListener("keydown", (event) => onKey(page, event, page.views.get(name)));
}

/** @param {Page} page */
export function listenToOverview(page) {
  const live = element("overview-live");
  live.addEventListener("pointermove", (event) => {
    const cell = page.overview?.headAt(event);
    const score = cell && page.state.sort !== "layer" ? `: ${valueText(cell.value)}` : "";
    const map = cell && mapAt(page.report, cell.layer);
    const called = cell && numbersOf(page.report, { layer: cell.layer, heads: [cell.head] });
    const head = called && `layer ${called.layer}, head ${called.heads[0]}${score}`;
    live.title = (map && cell ? titleOfMap(map, cell.head) : head) ?? "";
  });
  live.addEventListener("click", (event) => {
    const cell = page.overview?.headAt(event);
    if (!cell) return;
    const { state } = page;
    const adding = (event.ctrlKey || event.metaKey || event.shiftKey) && cell.layer === state.layer;
    page.go({ layer: cell.layer, heads: adding ? toggled(state.heads, cell.head) : [cell.head] });
  });
  live.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    page.walk(...step, event.shiftKey);
  });
}

/** Put a head in, or take it out unless it is the last. @param {number[]} heads @param {number} head */
function toggled(heads, head) {
  const others = heads.filter((other) => other !== head);
  if (others.length === heads.length) return [...heads, head].sort((a, b) => a - b);
  return others.length ? others : heads;
}

/** @param {Page} page @param {KeyboardEvent} event @param {View | undefined} view */
function onKey(page, event, view) {
  if (!page.scene || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") {
    page.pin(null, null);
    return;
  }
  const turned = view?.turned?.(event.key);
  if (turned) {
    event.preventDefault();
    page.go(turned);
    return;
  }
  if (view?.walked) {
    const cell = view.walked(event.key, event.shiftKey);
    if (!cell) return;
    event.preventDefault();
    if (event.shiftKey && view.extended) page.go(view.extended(cell, true));
    else page.pin(...cell);
    return;
  }
  const rows = page.scene.queries.indices;
  const columns = page.scene.keys.indices;
  const row = rows.indexOf(page.state.query ?? -1);
  const column = columns.indexOf(page.state.key ?? -1);
  const move = stepped(event.key, row, column, rows.length, columns.length);
  if (!move) return;
  event.preventDefault();
  // The first key press only says where one is.
  const [toRow, toColumn] = row < 0 || column < 0 ? [0, 0] : move;
  page.pin(rows[clamped(toRow, rows.length)], columns[clamped(toColumn, columns.length)]);
}

/** @param {string} key @param {number} row @param {number} column
 * @param {number} rows @param {number} columns @returns {[number, number] | undefined} */
function stepped(key, row, column, rows, columns) {
  /** @type {Record<string, [number, number]>} */
  const moves = {
    ArrowDown: [row + 1, column],
    ArrowUp: [row - 1, column],
    ArrowRight: [row, column + 1],
    ArrowLeft: [row, column - 1],
    Home: [row, 0],
    End: [row, columns - 1],
    PageUp: [0, column],
    PageDown: [rows - 1, column],
  };
  return moves[key];
}

/** @param {number} value @param {number} length */
function clamped(value, length) {
  return Math.min(length - 1, Math.max(0, value));
}
