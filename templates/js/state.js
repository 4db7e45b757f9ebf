// @ts-check
// What is shown, and its form in the address: #layer=3&head=5&query=2&key=4. Whatever an address
// lacks or gets wrong is as if it were not there.
import { RANGES, SCALES } from "./scale.js";

/** @typedef {"mean" | "max"} Combine how several heads become one picture */
/** @typedef {{view: string, sort: string, layer: number, heads: number[], combine: Combine,
 *   scale: import("./scale.js").ScaleName, range: import("./scale.js").RangeName,
 *   sinks: "shown" | "hidden", edges: number, query: number | null, key: number | null}} State */
/** @typedef {{heads: number, queries: number, keys: number}} Shape of one layer */

/** How many lines the arrow graph may draw. */
export const EDGES = [20, 50, 100, 200, 500, 1000];

/** What an address leaves out. @type {Omit<State, "layer" | "heads">} */
export const PLAIN = {
  view: "heatmap",
  sort: "layer",
  combine: "mean",
  scale: "sqrt",
  range: "fixed",
  sinks: "shown",
  edges: 100,
  query: null,
  key: null,
};

/**
 * @param {string} hash @param {Shape[]} shapes @param {{views: string[], sorts: string[]}} choices
 * @param {{layer: number, heads: number[]}} otherwise what an address without a layer or head shows
 * @returns {State}
 */
export function stateOfHash(hash, shapes, choices, otherwise) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const layer = wholeBelow(fields.get("layer"), shapes.length) ?? otherwise.layer;
  const shape = shapes[layer];
  return {
    view: oneOf(fields.get("view"), choices.views) ?? PLAIN.view,
    sort: oneOf(fields.get("sort"), choices.sorts) ?? PLAIN.sort,
    layer,
    heads: headsOf(fields.get("head"), shape.heads) ?? within(otherwise.heads, shape.heads),
    combine: oneOf(fields.get("combine"), ["mean", "max"]) ?? PLAIN.combine,
    scale: oneOf(fields.get("scale"), SCALES) ?? PLAIN.scale,
    range: oneOf(fields.get("range"), RANGES) ?? PLAIN.range,
    sinks: oneOf(fields.get("sinks"), ["shown", "hidden"]) ?? PLAIN.sinks,
    edges: oneOf(fields.get("edges"), EDGES.map(String)) ? Number(fields.get("edges")) : PLAIN.edges,
    query: wholeBelow(fields.get("query"), shape.queries),
    key: wholeBelow(fields.get("key"), shape.keys),
  };
}

/** @param {State} state @returns {string} */
export function hashOfState(state) {
  const parts = [`layer=${state.layer}`, `head=${state.heads.join(",")}`];
  for (const [name, plain] of Object.entries(PLAIN)) {
    const value = state[/** @type {keyof State} */ (name)];
    if (value !== plain) parts.push(`${name}=${value}`);
  }
  return `#${parts.join("&")}`;
}

/** The same choice where it still makes sense: another layer can have other heads and lengths.
 * @param {State} state @param {Shape} shape @returns {State} */
export function fitted(state, shape) {
  const { query, key } = state;
  return {
    ...state,
    heads: within(state.heads, shape.heads),
    query: query !== null && query < shape.queries ? query : null,
    key: key !== null && key < shape.keys ? key : null,
  };
}

/** @param {number[]} heads @param {number} bound */
function within(heads, bound) {
  const kept = heads.filter((head) => head < bound);
  return kept.length ? kept : [0];
}

/** @param {string | null} text @param {number} bound @returns {number[] | null} */
function headsOf(text, bound) {
  if (text === null) return null;
  const heads = text.split(",").map((part) => wholeBelow(part, bound));
  const known = /** @type {number[]} */ (heads.filter((head) => head !== null));
  return known.length ? [...new Set(known)].sort((a, b) => a - b) : null;
}

/** @template {string} T @param {string | null} text @param {T[]} choices @returns {T | null} */
function oneOf(text, choices) {
  return choices.find((choice) => choice === text) ?? null;
}

/** @param {string | null} text @param {number} bound @returns {number | null} */
function wholeBelow(text, bound) {
  if (text === null || !/^\d{1,9}$/.test(text)) return null;
  const number = Number(text);
  return number < bound ? number : null;
}
