// @ts-check
// Pickers and captions: they follow the state, and change it when somebody uses them.
import { about } from "./codes.js";
import { element, filled, made, picker } from "./dom.js";
import { showMapWords, variantsOf } from "./maps.js";
import { scaleWords } from "./scale.js";
import { isKept, spanOf, valueAt, valueText } from "./scores.js";
import { hasWords } from "./units.js";

/** @typedef {import("./scene.js").Scene} Scene */

/** Bring pickers and captions in step with what is shown.
 * @param {import("./weights.js").ReportDocument} report @param {Scene} scene */
export function showControls(report, scene) {
  const { state } = scene;
  picker("layer-select").value = String(state.layer);
  showHeads(variantsOf(scene.map) ?? headNames(report, state.layer), state.heads, !scene.map);
  showMapWords(scene);
  for (const name of /** @type {const} */ ([
    "sort", "tiles", "combine", "scale", "range", "sinks", "rescale", "unit", "order", "rowOrder", "edges",
    "graph",
  ])) {
    picker(`${name}-select`).value = String(state[name]);
  }
  picker("turn-select").value = state.look;
  const arcs = state.view === "arrows" && scene.self;
  element("graph-label").hidden = !arcs;
  element("look-label").hidden = !(scene.self && state.view === "text") && !(arcs && state.graph === "arcs");
  element("rescale-label").hidden = !scene.dropped.length || Boolean(scene.map);
  /** @type {HTMLInputElement} */ (element("least")).value = String(state.least);
  element("least-words").textContent = ((state.least / 100) ** 2 * scene.extent.top).toFixed(4);
  element("combine-label").hidden = state.heads.length === 1;
  element("shown-title").textContent = scene.heading;
  element("shown-pair").textContent = scene.pair;
  element("links-caption").textContent = scene.title.charAt(0).toLowerCase() + scene.title.slice(1);
  element("queries-name").textContent = scene.queryName;
  element("keys-name").textContent = scene.keyName;
  element("scale-words").textContent = scaleWords(state.scale, state.range, scene.extent, scene.map ? "value" : "weight");
  showMeasure(report, scene);
  showWorth(scene);
  element("hidden-words").textContent = hiddenWords(scene);
  filled(element("hidden-names"), hiddenNames(scene));
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
  element("heatmap-live").toggleAttribute("data-zoomed", zoomed);
}

/** Say what the overview is sorted by, and what its colours and its filter mean.
 * @param {import("./weights.js").ReportDocument} report @param {Scene} scene */
function showMeasure(report, { state, theme }) {
  for (const node of document.querySelectorAll("[data-measure]")) {
    const words = /** @type {HTMLElement} */ (node);
    words.hidden = words.dataset.measure !== state.sort;
  }
  const measure = report.measures.find(({ name }) => name === state.sort);
  for (const id of ["tiles-label", "atLeast-label", "kept-words"]) element(id).hidden = !measure;
  const charted = Boolean(measure) && state.tiles === "chart";
  element("score-bar").hidden = !charted;
  element("score-mean").hidden = !charted || report.maps.every(({ means }) => !means);
  if (!measure) return;
  const span = spanOf(measure);
  const scores = measure.values.flat();
  const kept = scores.filter((value) => isKept(value, span, state.atLeast)).length;
  /** @type {HTMLInputElement} */ (element("atLeast")).value = String(state.atLeast);
  element("atLeast-words").textContent = valueText(valueAt(span, state.atLeast));
  element("kept-words").textContent = kept < scores.length ? `${kept} of ${scores.length} heads` : "";
  element("score-low").textContent = valueText(span.low);
  element("score-high").textContent = valueText(span.high);
  const colours = report.palettes[theme].match(/.{6}/g)?.filter((_, code) => code % 25 === 0) ?? [];
  element("score-colours").style.background = `linear-gradient(to right, #${colours.join(", #")})`;
}

/** Say why the shown head is worth a look, if it is, and mark it where those heads are listed.
 * @param {Scene} scene */
function showWorth({ numbers, map }) {
  const place = map || numbers.heads.length > 1 ? "" : `${numbers.layer}.${numbers.heads[0]}`;
  const links = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".notable a"));
  const shown = [...links].find((link) => link.dataset.place === place);
  for (const link of links) link.removeAttribute("aria-current");
  shown?.setAttribute("aria-current", "true");
  element("worth").hidden = !shown;
  element("worth").textContent = shown ? `${shown.textContent}.` : "";
}

/** @param {import("./weights.js").ReportDocument} report @param {number} layer */
function headNames(report, layer) {
  return report.layers[layer].numbers.map((number) => `head ${number}`);
}

/** @param {string[]} names of all heads, or of a map's variants @param {number[]} chosen places
 * @param {boolean} several whether more than one can be chosen */
function showHeads(names, chosen, several) {
  const options = names.map((name, place) => option(String(place), name));
  if (names.length > 1 && several) options.push(option([...names.keys()].join(","), "all heads"));
  const text = chosen.join(",");
  if (!options.some(({ value }) => value === text)) {
    const numbers = chosen.map((place) => names[place].replace("head ", ""));
    options.push(option(text, `heads ${numbers.join(",")}`));
  }
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
function hiddenWords({ hidden, base, scaled, rounded }) {
  const parts = [];
  if (hidden.queries) parts.push(`${hidden.queries} of ${base.rows} queries`);
  if (hidden.keys) parts.push(`${hidden.keys} of ${base.columns} keys`);
  if (!parts.length) return "";
  const share = (hidden.share * 100).toFixed(1);
  const left = scaled ? "Rows are scaled to add up to 1 without the hidden keys" : "What is left is not scaled up";
  return `Not shown: ${parts.join(" and ")}, with ${about(rounded)}${share} % of the weight. ${left}.`;
}

const MOST_NAMES = 12;

/** A button for each query and key that was hidden by hand, which brings it back. @param {Scene} scene */
function hiddenNames({ state, axes }) {
  const sides = /** @type {const} */ ([["hideQueries", axes.queries], ["hideKeys", axes.keys]]);
  return sides.flatMap(([side, { labels }]) =>
    state[side].slice(0, MOST_NAMES).filter((index) => index < labels.length).map((index) => {
      const button = made("button", `${labels[index]} ↩`, "small");
      button.dataset.back = `${side} ${index}`;
      button.title = `Show ${side === "hideKeys" ? "key" : "query"} ${index} again`;
      return button;
    }),
  );
}

/** @param {import("./page.js").Page} page @param {MouseEvent} event */
function bringBack(page, event) {
  const { back } = /** @type {HTMLElement} */ (event.target).dataset;
  if (!back) return;
  const [name, index] = back.split(" ");
  const side = /** @type {"hideQueries" | "hideKeys"} */ (name);
  page.go({ [side]: page.state[side].filter((one) => one !== Number(index)) });
}

/** @param {import("./page.js").Page} page */
export function listenToControls(page) {
  onPick("layer-select", (value) => page.go({ layer: Number(value) }));
  onPick("edges-select", (value) => page.go({ edges: Number(value) }));
  onPick("head-select", (value) => page.go({ heads: value.split(",").map(Number) }));
  for (const name of ["sort", "tiles", "combine", "scale", "range", "sinks", "rescale", "order", "rowOrder", "graph"]) {
    onPick(`${name}-select`, (value) => page.go({ [name]: value }));
  }
  onPick("turn-select", (value) => turn(page, /** @type {"to" | "from"} */ (value)));
  for (const name of ["least", "atLeast"]) {
    const slider = /** @type {HTMLInputElement} */ (element(name));
    slider.addEventListener("input", () => page.go({ [name]: Number(slider.value) }));
  }
  // Other units are other positions: what pointed at the old ones would point elsewhere.
  onPick("unit-select", (value) => page.go({ .../** @type {any} */ ({ unit: value }), ...ALL_SHOWN }));
  element("show-all").addEventListener("click", () => page.go({ ...ALL_SHOWN, sinks: "shown" }));
  element("hidden-names").addEventListener("click", (event) => bringBack(page, event));
  element("hide-query").addEventListener("click", () => hide(page, "query"));
  element("hide-key").addEventListener("click", () => hide(page, "key"));
  element("find").addEventListener("keydown", (event) => {
    if (event.key === "Enter") find(page, event.shiftKey ? -1 : 1);
  });
  element("find").addEventListener("input", () => find(page, 0));
  element("previous-head").addEventListener("click", () => page.step(-1));
  element("next-head").addEventListener("click", () => page.step(1));
  for (const tab of document.querySelectorAll("[data-view]")) {
    const { view } = /** @type {HTMLElement} */ (tab).dataset;
    tab.addEventListener("click", () => page.go({ view }));
  }
}

/** Turn round what a chosen token of one sequence stands for: who looks, or what is looked at.
 * @param {import("./page.js").Page} page @param {"to" | "from"} look */
function turn(page, look) {
  const { query, key } = page.state;
  page.go(look === "to" ? { look, query: query ?? key, key: null } : { look, query: null, key: key ?? query });
}

const ALL_SHOWN = { query: null, key: null, more: [], rows: null, columns: null, hideQueries: [], hideKeys: [] };

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

/** Keep a query, or else a key, whose label holds what was typed: the kept one if it does, or the first;
 * with a step the next or the one before.
 * @param {import("./page.js").Page} page @param {number} step */
function find(page, step) {
  const typed = /** @type {HTMLInputElement} */ (element("find")).value.trim().toLowerCase();
  element("found-words").textContent = "";
  if (!page.scene || !typed) return;
  const holding = (/** @type {import("./scene.js").Side} */ { indices, labels }) =>
    indices.filter((_, place) => labels[place].toLowerCase().includes(typed));
  const queries = holding(page.scene.queries);
  const asQuery = queries.length > 0;
  const found = asQuery ? queries : holding(page.scene.keys);
  const at = found.indexOf((asQuery ? page.state.query : page.state.key) ?? -1);
  const next = at < 0 ? 0 : (at + step + found.length) % found.length;
  element("found-words").textContent = found.length
    ? `${asQuery ? "query" : "key"} ${next + 1} of ${found.length}`
    : "Not found among what is shown.";
  if (found.length) page.pin(asQuery ? found[next] : null, asQuery ? null : found[next]);
}

/** @param {string} id @param {(value: string) => void} act */
function onPick(id, act) {
  picker(id).addEventListener("change", () => act(picker(id).value));
}
