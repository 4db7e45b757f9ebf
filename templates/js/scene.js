// @ts-check
// What every view draws: one matrix with its labels, after the choices that all views share. First
// tokens may become words (`base`), then positions are hidden, sorted and cut to a window (`matrix`).
import { layerAt, mapAt, titleOfMap } from "./maps.js";
import { numbersOf } from "./numbers.js";
import { paletteOf } from "./palette.js";
import { rescaled } from "./rescaling.js";
import { WEIGHT } from "./scale.js";
import { groupedAxis, pooled, tokensOf, wordsOf } from "./units.js";

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {import("./weights.js").Axis} Axis */
/** @typedef {import("./state.js").State} State */
/** @typedef {{labels: string[], roles: string[], indices: number[]}} Side the positions that are
 *   shown along one side; `indices` are their places in the whole axis */
/** @typedef {{
 *   state: State, title: string, heading: string, pair: string, queryName: string, keyName: string, self: boolean,
 *   axes: {queries: Axis, keys: Axis}, base: Matrix, bases: Matrix[], matrix: Matrix, parts: Matrix[],
 *   partNames: string[], queries: Side, keys: Side, available: {queries: number, keys: number},
 *   hidden: {queries: number, keys: number, share: number}, dropped: number[], scaled: boolean, rounded: boolean,
 *   numbers: import("./numbers.js").Numbers, map: import("./maps.js").JoinedMap | null,
 *   extent: import("./scale.js").Extent,
 *   theme: string, ink: string, palette: Uint8Array, levels: number,
 *   errorAt: (index: number) => number,
 * }} Scene `title` says what is computed and `heading` what is drawn, `dropped` are the keys that were
 *   taken out by choice, `scaled` tells whether the rows were scaled to 1 without them, `rounded` whether
 *   weights may be, `errorAt` how far a weight of `base` can be from the true one */

/**
 * @param {import("./weights.js").Weights} weights @param {State} state @param {string} theme
 * @returns {Promise<Scene>}
 */
export async function sceneOf(weights, state, theme) {
  const { report } = weights;
  const layer = layerAt(report, state.layer);
  const map = mapAt(report, state.layer);
  const numbers = numbersOf(report, state);
  const groups = [layer.queries, layer.keys].map((axis) => groupsOf(report.axes[axis], state));
  const [queryAxis, keyAxis] = [layer.queries, layer.keys].map((axis, side) =>
    groupedAxis(report.axes[axis], groups[side]),
  );
  const heads = await Promise.all(state.heads.map((head) => weights.matrix(state.layer, head)));
  const errorOf = weights.errorsOf(state.layer);
  const errorIn = (/** @type {Matrix} */ matrix) => (/** @type {number} */ index) =>
    matrix.errors?.[index] ?? (matrix.sure?.[index] ? 0 : errorOf(matrix.values[index]));
  const united = (/** @type {Matrix} */ matrix) => pooled(matrix, groups[0], groups[1], errorIn(matrix));
  const asTold = united(weights.combined(heads, state.combine));
  const keyPlaces = shownKeys(asTold, keyAxis, state);
  const kept = new Set(keyPlaces);
  const dropped = range(asTold.columns).filter((key) => !kept.has(key));
  const scaled = state.rescale === "on" && dropped.length > 0 && !map; // a map has no row to fill
  const scaledOr = (/** @type {Matrix} */ matrix) =>
    scaled ? rescaled(matrix, keyPlaces, errorIn(matrix)) : matrix;
  const base = scaledOr(asTold);
  const bases = heads.length === 1 ? [base] : heads.map((head) => scaledOr(united(head)));
  const queryPlaces = shownQueries(base, keyPlaces, state);
  const queries = sideOf(queryAxis, windowOf(queryPlaces, state.rows));
  const keys = sideOf(keyAxis, windowOf(keyPlaces, state.columns));
  const palette = paletteOf(coloursFor(report, state, theme, Boolean(map?.signed)));
  const title = map ? titleOfMap(map, state.heads[0]) : titleOf(numbers, `${state.combine} of heads`);
  return {
    state,
    title,
    heading: apart(state) && !map ? titleOf(numbers, "heads") : title,
    pair: map?.pair ?? report.groups.find(({ layers }) => layers.includes(state.layer))?.title ?? "",
    queryName: queryAxis.name,
    keyName: keyAxis.name,
    self: layer.kind === "self",
    axes: { queries: queryAxis, keys: keyAxis },
    base,
    bases,
    matrix: part(base, queries.indices, keys.indices),
    parts: state.view === "arrows"
      ? partsOf(heads, map).map((head) => part(scaledOr(united(head)), queries.indices, keys.indices))
      : [],
    partNames: map ? ["above 0", "below 0"] : numbers.heads.map((head) => `head ${head}`),
    numbers,
    map,
    extent: map ?? WEIGHT,
    queries,
    keys,
    available: { queries: queryPlaces.length, keys: keyPlaces.length },
    hidden: hiddenOf(asTold, queries.indices, keys.indices),
    dropped,
    scaled,
    rounded: errorOf(1) > 0,
    theme,
    ink: report.inks[theme],
    palette,
    levels: palette.length / 3 - 1,
    errorAt: errorIn(base),
  };
}

/** What is told apart by colour: several heads, or the two signs of a map, each as its size.
 * @param {Matrix[]} heads @param {import("./maps.js").JoinedMap | null} map @returns {Matrix[]} */
function partsOf(heads, map) {
  if (!map?.signed) return heads;
  return [1, -1].map((sign) => ({
    ...heads[0],
    values: heads[0].values.map((value) => Math.max(0, sign * value)),
  }));
}

/** @param {import("./weights.js").ReportDocument} report @param {State} state
 * @param {string} theme @param {boolean} signed */
function coloursFor(report, { view }, theme, signed) {
  // A picture lies on the light side whatever the reader's theme, and so do colours over it.
  if (signed) return report.signedPalettes?.[view === "overlay" ? "light" : theme] ?? "";
  return view === "overlay" ? report.overlayPalette : report.palettes[theme];
}

/** @param {Axis} axis @param {State} state */
function groupsOf(axis, { unit }) {
  return unit === "words" ? wordsOf(axis) : tokensOf(axis);
}

/** @param {import("./numbers.js").Numbers} numbers @param {string} several what several heads are told as */
function titleOf({ layer, heads }, several) {
  if (heads.length === 1) return `Layer ${layer}, head ${heads[0]}`;
  return `Layer ${layer}, ${several} ${heads.join(", ")}`;
}

/** Whether each of several heads is drawn by itself. @param {State} state */
function apart({ view, mode, heads }) {
  return heads.length > 1 && (view === "arrows" || (view === "overlay" && mode === "heads"));
}

/** Which rows are shown, in order: as they stand, or by the largest weight that is left of them.
 * @param {Matrix} base @param {number[]} keys @param {State} state @returns {number[]} */
function shownQueries(base, keys, { hideQueries, rowOrder }) {
  const kept = range(base.rows).filter((query) => !hideQueries.includes(query));
  const some = kept.length ? kept : range(base.rows);
  if (rowOrder === "position") return some;
  const peaks = some.map((query) => keys.reduce((most, key) => {
    const weight = base.values[query * base.columns + key];
    return weight > most ? weight : most;
  }, 0));
  return range(some.length).sort((a, b) => peaks[b] - peaks[a] || a - b).map((at) => some[at]);
}

/** Which columns are shown, in order.
 * @param {Matrix} base @param {Axis} axis @param {State} state @returns {number[]} */
function shownKeys(base, axis, { sinks, hideKeys, order }) {
  const kept = range(base.columns).filter(
    (key) => (sinks === "shown" || !isSink(axis, key)) && !hideKeys.includes(key),
  );
  const some = kept.length ? kept : range(base.columns);
  return order === "weight" ? byWeight(base, some) : some;
}

/** A key that draws attention without meaning: the first one, and what the tokenizer added.
 * @param {Axis} axis @param {number} index */
function isSink(axis, index) {
  return index === 0 || axis.roles[index] === "s";
}

/** Keys by the weight they receive from all queries together, most first.
 * @param {Matrix} base @param {number[]} keys */
function byWeight({ columns, values }, keys) {
  const received = new Float64Array(columns);
  values.forEach((weight, index) => {
    if (Number.isFinite(weight)) received[index % columns] += weight;
  });
  return [...keys].sort((a, b) => received[b] - received[a] || a - b);
}

/** @param {number[]} shown @param {[number, number] | null} bounds first and last place */
function windowOf(shown, bounds) {
  const cut = bounds ? shown.slice(bounds[0], bounds[1] + 1) : shown;
  return cut.length ? cut : shown;
}

/** @param {number} length */
function range(length) {
  return Array.from({ length }, (_, index) => index);
}

/** @param {Axis} axis @param {number[]} indices @returns {Side} */
function sideOf(axis, indices) {
  return {
    indices,
    labels: indices.map((index) => axis.labels[index]),
    roles: indices.map((index) => axis.roles[index]),
  };
}

/** @param {Matrix} whole @param {number[]} rows @param {number[]} columns @returns {Matrix} */
function part(whole, rows, columns) {
  if (isAll(rows, whole.rows) && isAll(columns, whole.columns)) return whole;
  const values = new Float32Array(rows.length * columns.length);
  rows.forEach((row, at) => {
    columns.forEach((column, across) => {
      values[at * columns.length + across] = whole.values[row * whole.columns + column];
    });
  });
  return { rows: rows.length, columns: columns.length, values };
}

/** Tells whether these are all places, in order. @param {number[]} places @param {number} length */
function isAll(places, length) {
  return places.length === length && places.every((place, at) => place === at);
}

/** How many positions are not shown, and which share of all weight their cells hold.
 * @param {Matrix} base @param {number[]} rows @param {number[]} columns */
function hiddenOf(base, rows, columns) {
  if (rows.length === base.rows && columns.length === base.columns) return { queries: 0, keys: 0, share: 0 };
  const [shownRows, shownColumns] = [new Set(rows), new Set(columns)];
  let [hidden, all] = [0, 0];
  base.values.forEach((weight, index) => {
    if (!Number.isFinite(weight)) return;
    all += weight;
    const row = Math.floor(index / base.columns);
    if (!shownRows.has(row) || !shownColumns.has(index % base.columns)) hidden += weight;
  });
  return {
    queries: base.rows - rows.length,
    keys: base.columns - columns.length,
    share: all ? hidden / all : 0,
  };
}
