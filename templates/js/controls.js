// @ts-check
// Pickers and captions: they follow the state, and change it when somebody uses them.
import { element, filled, made, picker } from "./dom.js";
import { scaleWords } from "./scale.js";

/** @typedef {import("./scene.js").Scene} Scene */

/** Bring pickers and captions in step with what is shown.
 * @param {import("./weights.js").ReportDocument} report @param {Scene} scene */
export function showControls(report, scene) {
  const { state } = scene;
  picker("layer-select").value = String(state.layer);
  showHeads(report.layers[state.layer].heads, state.heads);
  for (const name of /** @type {const} */ (["sort", "combine", "scale", "range", "sinks", "edges"])) {
    picker(`${name}-select`).value = String(state[name]);
  }
  element("combine-label").hidden = state.heads.length === 1;
  element("shown-title").textContent = scene.title;
  element("shown-pair").textContent = scene.pair;
  element("links-caption").textContent = scene.title;
  element("keys-name").textContent = scene.keyName;
  element("scale-words").textContent = scaleWords(state.scale, state.range);
  showMeasure(state.sort);
  element("hidden-words").textContent = hiddenWords(scene);
  for (const tab of document.querySelectorAll("[data-view]")) {
    const chosen = /** @type {HTMLElement} */ (tab).dataset.view === state.view;
    tab.setAttribute("aria-pressed", String(chosen));
  }
}

/** Say what the overview is sorted by. @param {string} sort */
function showMeasure(sort) {
  for (const node of document.querySelectorAll("[data-measure]")) {
    const words = /** @type {HTMLElement} */ (node);
    words.hidden = words.dataset.measure !== sort;
  }
}

/** @param {number} count @param {number[]} chosen */
function showHeads(count, chosen) {
  const every = Array.from({ length: count }, (_, head) => head);
  const options = every.map((head) => option(String(head), String(head)));
  if (count > 1) options.push(option(every.join(","), "all"));
  const text = chosen.join(",");
  if (!options.some(({ value }) => value === text)) options.push(option(text, text));
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
function hiddenWords({ state, hidden }) {
  if (state.sinks === "shown" || !hidden.keys) return "";
  const keys = hidden.keys === 1 ? "1 key is" : `${hidden.keys} keys are`;
  const share = (hidden.share * 100).toFixed(1);
  return `${keys} hidden (the first position and special tokens), with ${share} % of the weight. What is left is not scaled up.`;
}

/** @param {import("./page.js").Page} page */
export function listenToControls(page) {
  onPick("layer-select", (value) => page.go({ layer: Number(value) }));
  onPick("edges-select", (value) => page.go({ edges: Number(value) }));
  onPick("head-select", (value) => page.go({ heads: value.split(",").map(Number) }));
  for (const name of ["sort", "combine", "scale", "range", "sinks"]) {
    onPick(`${name}-select`, (value) => page.go({ [name]: value }));
  }
  element("previous-head").addEventListener("click", () => page.step(-1));
  element("next-head").addEventListener("click", () => page.step(1));
  for (const tab of document.querySelectorAll("[data-view]")) {
    const { view } = /** @type {HTMLElement} */ (tab).dataset;
    tab.addEventListener("click", () => page.go({ view }));
  }
}

/** @param {string} id @param {(value: string) => void} act */
function onPick(id, act) {
  picker(id).addEventListener("change", () => act(picker(id).value));
}
