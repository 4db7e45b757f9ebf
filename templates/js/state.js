// @ts-check
// What is shown, and its form in the address: #layer=3&head=5&query=2&key=4, or #map=0&head=1 for a
// joined map. Whatever an address lacks or gets wrong is as if it were not there. A state counts layers
// and heads by their place in the report; an address has their numbers.
import { RANGES, SCALES } from "./scale.js";

/** @typedef {"mean" | "max"} Combine how several heads become one picture */
/** @typedef {[number, number] | null} Window first and last place shown along a side */
/** @typedef {{view: string, sort: string, tiles: "sorted" | "chart", atLeast: number,
 *   layer: number, heads: number[], combine: Combine,
 *   scale: import("./scale.js").ScaleName, range: import("./scale.js").RangeName,
 *   sinks: "shown" | "hidden", rescale: "off" | "on", unit: "tokens" | "words",
 *   order: "position" | "weight", rowOrder: "position" | "focus",
 *   look: "to" | "from", graph: "sides" | "arcs", mode: "over" | "contours" | "beside" | "heads",
 *   full: "largest" | "fixed", patches: "exact" | "smooth", part: number | null, opacity: number, edges: number,
 *   least: number, query: number | null, key: number | null, more: number[], rows: Window, columns: Window,
 *   hideQueries: number[], hideKeys: number[]}} State
 * `part` is the part of the picture that is shown, -1 for all, null for the one that comes first;
 * `more` are positions chosen beside the query, or beside the key where there is no query; `least` is
 * the place on the √ scale, in hundredths, of the smallest weight that becomes a line; `atLeast` how
 * far up its measure, in hundredths, a head must reach to stay in the overview */
/** @typedef {{heads: number, number?: number, numbers?: number[], single?: boolean, queries: number,
 *   keys: number, view?: string}} Shape of one layer; of a `single` one only one head at a time makes
 *   sense, `view` is the one that it is first shown in. `number` and `numbers` are what the layer and its
 *   heads are called in the address; without them it is their place */
/** @typedef {{read: (text: string, shape: Shape) => any, write?: (value: any) => string,
 *   plain: any}} Field how one part of the state stands in the address, and what it is if it does not */

/** How many lines the arrow graph may draw. */
export const EDGES = [20, 50, 100, 200, 500, 1000];

/** @type {Record<string, Field>} */
const FIELDS = {
  tiles: choice(["sorted", "chart"]),
  atLeast: { read: (text) => wholeBelow(text, 101), plain: 0 },
  combine: choice(["mean", "max"]),
  scale: choice(SCALES),
  range: choice(RANGES),
  sinks: choice(["shown", "hidden"]),
  rescale: choice(["off", "on"]),
  unit: choice(["tokens", "words"]),
  order: choice(["position", "weight"]),
  rowOrder: choice(["position", "focus"]),
  look: choice(["to", "from"]),
  graph: choice(["sides", "arcs"]),
  mode: choice(["over", "contours", "beside", "heads"]),
  full: choice(["largest", "fixed"]),
  patches: choice(["exact", "smooth"]),
  part: { read: readPart, write: (part) => (part < 0 ? "all" : String(part)), plain: null },
  opacity: { read: (text) => wholeBelow(text, 101), plain: 80 },
  edges: { read: (text) => EDGES.find((count) => String(count) === text), plain: 100 },
  least: { read: (text) => wholeBelow(text, 101), plain: 0 },
  query: { read: (text, { queries }) => wholeBelow(text, queries), plain: null },
  key: { read: (text, { keys }) => wholeBelow(text, keys), plain: null },
  more: { read: (text, { queries, keys }) => someBelow(text, Math.max(queries, keys)), plain: [] },
  rows: { read: (text, { queries }) => readWindow(text, queries), write: dashed, plain: null },
  columns: { read: (text, { keys }) => readWindow(text, keys), write: dashed, plain: null },
  hideQueries: { read: (text, { queries }) => someBelow(text, queries), plain: [] },
  hideKeys: { read: (text, { keys }) => someBelow(text, keys), plain: [] },
};

/**
 * @param {string} hash @param {Shape[]} shapes
 * @param {{views: string[], sorts: string[]}} choices
 * @param {{layer: number, heads: number[], query: number | null}} otherwise what is shown where an
 *   address does not say; its heads and query belong to its layer
 * @returns {State}
 */
export function stateOfHash(hash, shapes, choices, otherwise) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const layers = shapes.filter(({ single }) => !single).length;
  const map = wholeBelow(given.get("map") ?? "", shapes.length - layers);
  const placed = map === null ? placeOfLayer(given.get("layer") ?? "", shapes, layers) : layers + map;
  const layer = placed ?? otherwise.layer;
  const shape = shapes[layer];
  const heads = placesOfHeads(given.get("head") ?? "", shape) ?? (placed === null ? otherwise.heads : [0]);
  const state = /** @type {any} */ ({
    layer,
    heads: within(heads, shape),
    view: choices.views.find((name) => name === given.get("view")) ?? shape.view ?? choices.views[0],
    sort: choices.sorts.find((name) => name === given.get("sort")) ?? choices.sorts[0],
  });
  for (const [name, { read, plain }] of Object.entries(FIELDS)) {
    state[name] = read(given.get(name) ?? "", shape) ?? plain;
  }
  if (placed === null) state.query ??= otherwise.query;
  return state;
}

/** @param {State} state @param {Shape[]} shapes @returns {string} */
export function hashOfState(state, shapes) {
  const { number, numbers, single, view = "heatmap" } = shapes[state.layer];
  const place = single
    ? `map=${state.layer - shapes.findIndex((shape) => shape.single)}`
    : `layer=${number ?? state.layer}`;
  const parts = [place, `head=${state.heads.map((head) => numbers?.[head] ?? head).join(",")}`];
  if (state.view !== view) parts.push(`view=${state.view}`);
  if (state.sort !== "layer") parts.push(`sort=${state.sort}`);
  for (const [name, { write, plain }] of Object.entries(FIELDS)) {
    const value = state[/** @type {keyof State} */ (name)];
    if (String(value) !== String(plain)) parts.push(`${name}=${write ? write(value) : value}`);
  }
  return `#${parts.join("&")}`;
}

/** The same choice where it still makes sense: another layer can have other heads and lengths.
 * @param {State} state @param {Shape} shape @returns {State} */
export function fitted(state, shape) {
  const kept = (/** @type {Window} */ window, /** @type {number} */ length) =>
    window && window[1] < length ? window : null;
  return {
    ...state,
    heads: within(state.heads, shape),
    query: state.query !== null && state.query < shape.queries ? state.query : null,
    key: state.key !== null && state.key < shape.keys ? state.key : null,
    more: state.more.filter((one) => one < Math.max(shape.queries, shape.keys)),
    rows: kept(state.rows, shape.queries),
    columns: kept(state.columns, shape.keys),
    hideQueries: state.hideQueries.filter((query) => query < shape.queries),
    hideKeys: state.hideKeys.filter((key) => key < shape.keys),
  };
}

/** @param {string[]} choices the first is the plain one @returns {Field} */
function choice(choices) {
  return { read: (text) => choices.find((one) => one === text), plain: choices[0] };
}

/** @param {number[]} heads @param {Shape} shape */
function within(heads, shape) {
  const kept = heads.filter((head) => head < shape.heads);
  if (!kept.length) return [0];
  return shape.single ? kept.slice(0, 1) : kept;
}

/** @param {string} text */
function readPart(text) {
  return text === "all" ? -1 : wholeBelow(text, 1000);
}

/** @param {[number, number]} bounds */
function dashed(bounds) {
  return bounds.join("-");
}

/** @param {string} text @param {number} bound @returns {Window} */
function readWindow(text, bound) {
  const [first, last, ...more] = text.split("-").map((part) => wholeBelow(part, bound));
  const known = first !== null && last !== null && last !== undefined && !more.length;
  return known && first <= last ? [first, last] : null;
}

/** @param {string} text @param {Shape[]} shapes @param {number} layers how many of them are layers
 * @returns {number | null} */
function placeOfLayer(text, shapes, layers) {
  const number = wholeBelow(text, Infinity);
  const place = shapes.findIndex((shape, at) => at < layers && (shape.number ?? at) === number);
  return place < 0 ? null : place;
}

/** @param {string} text @param {Shape} shape @returns {number[] | null} */
function placesOfHeads(text, { heads, numbers }) {
  const places = (someBelow(text, Infinity) ?? []).map((number) => numbers?.indexOf(number) ?? number);
  const known = places.filter((place) => place >= 0 && place < heads);
  return known.length ? known.sort((a, b) => a - b) : null;
}

/** @param {string} text @param {number} bound @returns {number[] | null} */
function someBelow(text, bound) {
  const numbers = text.split(",").map((part) => wholeBelow(part, bound));
  const known = /** @type {number[]} */ (numbers.filter((number) => number !== null));
  return known.length ? [...new Set(known)].sort((a, b) => a - b) : null;
}

/** @param {string} text @param {number} bound @returns {number | null} */
function wholeBelow(text, bound) {
  if (!/^\d{1,9}$/.test(text)) return null;
  const number = Number(text);
  return number < bound ? number : null;
}
