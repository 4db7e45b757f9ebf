// @ts-check
// What every view draws: one matrix with its labels, after the choices that all views share.

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {import("./weights.js").Axis} Axis */
/** @typedef {import("./state.js").State} State */
/** @typedef {{labels: string[], roles: string[], indices: number[]}} Side the positions that are
 *   shown along one side; `indices` are their places in the whole axis */
/** @typedef {{
 *   state: State, title: string, pair: string, queryName: string, keyName: string,
 *   self: boolean, parts: Matrix[], axes: {queries: Axis, keys: Axis}, whole: Matrix, matrix: Matrix, queries: Side, keys: Side,
 *   hidden: {keys: number, share: number},
 *   theme: string, ink: string, palette: Uint8Array, levels: number,
 *   error: (weight: number) => number,
 * }} Scene */

/**
 * @param {import("./weights.js").Weights} weights @param {State} state @param {string} theme
 * @returns {Promise<Scene>}
 */
export async function sceneOf(weights, state, theme) {
  const { report } = weights;
  const layer = report.layers[state.layer];
  const [queryAxis, keyAxis] = [report.axes[layer.queries], report.axes[layer.keys]];
  const whole = await weights.combined(state.layer, state.heads, state.combine);
  const queries = sideOf(queryAxis, () => true);
  const keys = sideOf(keyAxis, (index) => state.sinks === "shown" || !isSink(keyAxis, index));
  const heads = await Promise.all(state.heads.map((head) => weights.matrix(state.layer, head)));
  const palette = paletteOf(report.palettes[theme]);
  return {
    state,
    title: titleOf(state),
    pair: report.groups.find(({ layers }) => layers.includes(state.layer))?.title ?? "",
    queryName: queryAxis.name,
    keyName: keyAxis.name,
    self: layer.kind === "self",
    axes: { queries: queryAxis, keys: keyAxis },
    whole,
    matrix: part(whole, queries.indices, keys.indices),
    parts: heads.map((head) => part(head, queries.indices, keys.indices)),
    queries,
    keys,
    hidden: hiddenOf(whole, keys.indices),
    theme,
    ink: report.inks[theme],
    palette,
    levels: palette.length / 3 - 1,
    error: (weight) => weights.error(weight),
  };
}

/** A key that draws attention without meaning: the first one, and what the tokenizer added.
 * @param {Axis} axis @param {number} index */
function isSink(axis, index) {
  return index === 0 || axis.roles[index] === "s";
}

/** @param {State} state */
function titleOf({ layer, heads, combine }) {
  if (heads.length === 1) return `Layer ${layer}, head ${heads[0]}`;
  return `Layer ${layer}, ${combine} of heads ${heads.join(", ")}`;
}

/** @param {Axis} axis @param {(index: number) => boolean} shown @returns {Side} */
function sideOf(axis, shown) {
  const all = axis.labels.map((_, index) => index);
  const kept = all.filter(shown);
  const indices = kept.length ? kept : all;
  return {
    indices,
    labels: indices.map((index) => axis.labels[index]),
    roles: indices.map((index) => axis.roles[index]),
  };
}

/** @param {Matrix} whole @param {number[]} rows @param {number[]} columns @returns {Matrix} */
function part(whole, rows, columns) {
  if (rows.length === whole.rows && columns.length === whole.columns) return whole;
  const values = new Float32Array(rows.length * columns.length);
  rows.forEach((row, at) => {
    columns.forEach((column, across) => {
      values[at * columns.length + across] = whole.values[row * whole.columns + column];
    });
  });
  return { rows: rows.length, columns: columns.length, values };
}

/** How many keys are hidden, and which share of all weight they hold.
 * @param {Matrix} whole @param {number[]} shown */
function hiddenOf(whole, shown) {
  const visible = new Set(shown);
  let [hidden, all] = [0, 0];
  whole.values.forEach((weight, index) => {
    if (!Number.isFinite(weight)) return;
    all += weight;
    if (!visible.has(index % whole.columns)) hidden += weight;
  });
  return { keys: whole.columns - shown.length, share: all ? hidden / all : 0 };
}

/** @param {string} hexadecimal @returns {Uint8Array} 3 bytes a colour */
function paletteOf(hexadecimal) {
  return Uint8Array.from(hexadecimal.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
