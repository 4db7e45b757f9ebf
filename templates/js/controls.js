// @ts-check
// Pickers and captions: they follow the state, and change it when somebody uses them.
import { element, filled, made, picker } from "./dom.js";
import { layerAt, showMapWords, variantsOf } from "./maps.js";
import { scaleWords } from "./scale.js";
import { hasWords } from "./units.js";

/** @typedef {import("./scene.js").Scene} Scene */

/** Bring pickers and captions in step with what is shown.
 * @param {import("./weights.js").ReportDocument} report @param {Scene} scene */
export function showControls(report, scene) {
  const { state } = scene;
  picker("layer-select").value = String(state.layer);
  showHeads(layerAt(report, state.layer).heads, state.heads, variantsOf(scene.map));
  showMapWords(scene);
  for (const name of /** @type {const} */ ([
    "sort", "combine", "scale", "range", "sinks", "unit", "order", "edges",
  ])) {
    picker(`${name}-select`).value = String(state[name]);
  }
  element("combine-label").hidden = state.heads.length === 1;
  element("shown-title").textContent = scene.title;
  element("shown-pair").textContent = scene.pair;
  element("links-caption").textContent = scene.title;
  element("keys-name").textContent = scene.keyName;
  element("scale-words").textContent = scaleWords(state.scale, state.range, scene.extent, scene.map ? "value" : "weight");
  showMeasure(state.sort);
  element("hidden-words").textContent = hiddenWords(scene);
  element("show-all").hidden = !scene.hidden.queries && !scene.hidden.keys;
  showZoom(scene);
  const words = scene.state.unit === "words" || report.axes.some(hasWords);
  element("unit-label").hidden = !words;
  for (const tab of document.querySelectorAll("[data-view]")) {
    const chosen = /** @type {HTMLElement} */ (tab).dataset.view === state.view;
    tab.setAttribute("aria-pressed", String(chosen));
  }
}

/** Say which part of a zoomed picture is shown. @param {Scene} scene */
function showZoom({ state, queries, keys, available }) {
  const zoomed = Boolean(state.rows ?? state.columns);
  const part = `${queries.indices.length} of ${available.queries} × ${keys.indices.length} of ${available.keys}`;
  element("zoom-words").textContent = zoomed ? part : "";
  element("zoom-reset").hidden = !zoomed;
}

/** Say what the overview is sorted by. @param {string} sort */
function showMeasure(sort) {
  for (const node of document.querySelectorAll("[data-measure]")) {
    const words = /** @type {HTMLElement} */ (node);
    words.hidden = words.dataset.measure !== sort;
  }
}

/** @param {number} count @param {number[]} chosen @param {string[]} [variants] of a map, in words */
function showHeads(count, chosen, variants) {
  const every = Array.from({ length: count }, (_, head) => head);
  const options = every.map((head) => option(String(head), variants?.[head] ?? `head ${head}`));
  if (count > 1 && !variants) options.push(option(every.join(","), "all heads"));
  const text = chosen.join(",");
  if (!options.some(({ value }) => value === text)) options.push(option(text, `heads ${text}`));
  filled(element("head-select"), options);
  picker("head-select").value = text;
}

/** @param {string} value @param {string} text */
function option(value, text) {
  const node = /** @type {HTMLOptionElement} */ (made("option", text));
  node.value = value;
  return node;
}

/** @param {Scene} scene */
function hiddenWords({ hidden, base }) {
  const parts = [];
  if (hidden.queries) parts.push(`${hidden.queries} of ${base.rows} queries`);
  if (hidden.keys) parts.push(`${hidden.keys} of ${base.columns} keys`);
  if (!parts.length) return "";
  const share = (hidden.share * 100).toFixed(1);
  return `Not shown: ${parts.join(" and ")}, with ${share} % of the weight. What is left is not scaled up.`;
}

/** @param {import("./page.js").Page} page */
export function listenToControls(page) {
  onPick("layer-select", (value) => page.go({ layer: Number(value) }));
  onPick("edges-select", (value) => page.go({ edges: Number(value) }));
  onPick("head-select", (value) => page.go({ heads: value.split(",").map(Number) }));
  for (const name of ["sort", "combine", "scale", "range", "sinks", "order"]) {
    onPick(`${name}-select`, (value) => page.go({ [name]: value }));
  }
  // Other units are other positions: what pointed at the old ones would point elsewhere.
  onPick("unit-select", (value) => page.go({ .../** @type {any} */ ({ unit: value }), ...ALL_SHOWN }));
  element("show-all").addEventListener("click", () => page.go({ ...ALL_SHOWN, sinks: "shown" }));
  element("hide-query").addEventListener("click", () => hide(page, "query"));
  element("hide-key").addEventListener("click", () => hide(page, "key"));
  element("find").addEventListener("change", () => find(page));
  element("previous-head").addEventListener("click", () => page.step(-1));
  element("next-head").addEventListener("click", () => page.step(1));
  for (const tab of document.querySelectorAll("[data-view]")) {
    const { view } = /** @type {HTMLElement} */ (tab).dataset;
    tab.addEventListener("click", () => page.go({ view }));
  }
}

const ALL_SHOWN = { query: null, key: null, rows: null, columns: null, hideQueries: [], hideKeys: [] };

/** Take the kept query or key out of the picture.
 * @param {import("./page.js").Page} page @param {"query" | "key"} side */
function hide(page, side) {
  const { state } = page;
  if (side === "query" && state.query !== null) {
    page.go({ hideQueries: [...state.hideQueries, state.query], query: null, key: null });
  } else if (side === "key" && state.key !== null) {
    page.go({ hideKeys: [...state.hideKeys, state.key], query: null, key: null });
  }
}

/** Keep the next query, or else key, whose label holds what was typed.
 * @param {import("./page.js").Page} page */
function find(page) {
  const typed = /** @type {HTMLInputElement} */ (element("find")).value.trim().toLowerCase();
  if (!page.scene || !typed) return;
  const { queries, keys } = page.scene;
  const at = page.state.query ?? -1;
  const found = queries.indices.filter((_, place) => queries.labels[place].toLowerCase().includes(typed));
  const next = found.find((index) => index > at) ?? found[0];
  const key = keys.indices.find((_, place) => keys.labels[place].toLowerCase().includes(typed));
  element("found-words").textContent =
    next === undefined && key === undefined ? "Not found among what is shown." : "";
  if (next !== undefined) page.pin(next, null);
  else if (key !== undefined) page.pin(null, key);
}

/** @param {string} id @param {(value: string) => void} act */
function onPick(id, act) {
  picker(id).addEventListener("change", () => act(picker(id).value));
}
