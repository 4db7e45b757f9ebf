// @ts-check
// Puts the page together: one state, the pickers and the address that change it, the views of it.
import { element, filled, made, picker } from "./dom.js";
import { Heatmap } from "./heatmap.js";
import { showLinks } from "./links.js";
import { allowOnlyEmptyMarkup } from "./policy.js";
import { showCell, showMean } from "./readout.js";
import { hashOfState, stateOfHash } from "./state.js";
import { Weights, readJson } from "./weights.js";

/** @typedef {import("./state.js").State} State */

class Page {
  /** @param {import("./weights.js").ReportDocument} report @param {Heatmap} heatmap */
  constructor(report, heatmap) {
    this.report = report;
    this.heatmap = heatmap;
    this.weights = new Weights(report);
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.shapes = report.layers.map((layer) => ({
      heads: layer.heads,
      queries: report.axes[layer.queries].labels.length,
      keys: report.axes[layer.keys].labels.length,
    }));
    /** @type {State} */
    this.state = { ...report.shown, query: null, key: null };
    /** @type {import("./weights.js").Matrix} */
    this.matrix = { rows: 0, columns: 0, values: new Float32Array() };
  }

  get theme() {
    return this.dark.matches ? "dark" : "light";
  }

  get queries() {
    return this.report.axes[this.report.layers[this.state.layer].queries];
  }

  get keys() {
    return this.report.axes[this.report.layers[this.state.layer].keys];
  }

  /** Show another layer or head. @param {State} state */
  async show(state) {
    this.state = state;
    const { layer, head } = state;
    this.matrix = await this.weights.matrix(layer, head);
    this.words();
    await this.heatmap.show({
      matrix: this.matrix,
      url: this.weights.url(layer, head, this.theme),
      keys: this.keys.labels,
      queries: this.queries.labels,
      ink: this.report.inks[this.theme],
      palette: this.weights.palette(this.theme),
      levels: this.report.levels,
    });
    await this.choose(state.query, state.key);
    showLinks(this.matrix, this.queries, this.keys, (weight) => this.weights.error(weight));
  }

  /** Bring pickers and captions in step with the state. */
  words() {
    const { layer, head } = this.state;
    const heads = this.shapes[layer].heads;
    const group = this.report.groups.find(({ layers }) => layers.includes(layer));
    picker("layer-select").value = String(layer);
    filled(
      element("head-select"),
      Array.from({ length: heads }, (_, index) => made("option", String(index))),
    );
    picker("head-select").value = String(head);
    element("heatmap-caption").firstChild?.replaceWith(`Layer ${layer}, head ${head}: `);
    element("heatmap-pair").textContent = group?.title ?? "";
    element("keys-name").textContent = this.keys.name;
    element("links-caption").textContent = `layer ${layer}, head ${head}`;
  }

  /** Point at one cell. @param {number | null} query @param {number | null} key */
  async choose(query, key) {
    await this.heatmap.mark(query, key);
    const error = (/** @type {number} */ weight) => this.weights.error(weight);
    if (query === null || key === null) showMean(this.matrix, this.keys.labels, error);
    else showCell(this.matrix, this.queries.labels, this.keys.labels, query, key, error);
  }

  /** Keep what is shown in the address, so that a link leads back to it. */
  remember() {
    try {
      window.history.replaceState(null, "", hashOfState(this.state));
    } catch {
      // A sandboxed frame has no address to keep; the page works without.
    }
  }

  /** @param {Partial<State>} change */
  async go(change) {
    const next = { ...this.state, ...change };
    this.state = stateOfHash(hashOfState(next), this.shapes, next);
    this.remember();
    await this.show(this.state);
  }

  /** Step to the next or previous head, over the ends of layers. @param {number} by 1 or -1 */
  async step(by) {
    let { layer, head } = this.state;
    head += by;
    if (head < 0 || head >= this.shapes[layer].heads) {
      layer = (layer + by + this.shapes.length) % this.shapes.length;
      head = by > 0 ? 0 : this.shapes[layer].heads - 1;
    }
    await this.go({ layer, head });
  }

  /** @param {KeyboardEvent} event */
  async key(event) {
    const { queries, keys } = this.shapes[this.state.layer];
    const query = this.state.query ?? 0;
    const key = this.state.key ?? 0;
    /** @type {Record<string, [number, number]>} */
    const moves = {
      ArrowDown: [query + 1, key],
      ArrowUp: [query - 1, key],
      ArrowRight: [query, key + 1],
      ArrowLeft: [query, key - 1],
      Home: [query, 0],
      End: [query, keys - 1],
      PageUp: [0, key],
      PageDown: [queries - 1, key],
    };
    const move = moves[event.key];
    if (event.key === "Escape") return this.pin(null, null);
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return undefined;
    event.preventDefault();
    const first = this.state.query === null;
    const [toQuery, toKey] = first ? [0, 0] : move;
    return this.pin(clamp(toQuery, queries), clamp(toKey, keys));
  }

  /** @param {number | null} query @param {number | null} key */
  async pin(query, key) {
    Object.assign(this.state, { query, key });
    this.remember();
    await this.choose(query, key);
  }
}

/** @param {number} value @param {number} length */
function clamp(value, length) {
  return Math.min(length - 1, Math.max(0, value));
}

/** @param {Page} page */
function listen(page) {
  const live = element("heatmap-live");
  picker("layer-select").addEventListener("change", (event) =>
    page.go({ layer: Number(/** @type {HTMLSelectElement} */ (event.target).value) }),
  );
  picker("head-select").addEventListener("change", (event) =>
    page.go({ head: Number(/** @type {HTMLSelectElement} */ (event.target).value) }),
  );
  element("previous-head").addEventListener("click", () => page.step(-1));
  element("next-head").addEventListener("click", () => page.step(1));
  live.addEventListener("pointermove", (event) => {
    const cell = page.heatmap.cellAt(event);
    if (cell) page.choose(...cell);
  });
  live.addEventListener("pointerleave", () => page.choose(page.state.query, page.state.key));
  live.addEventListener("click", (event) => {
    const cell = page.heatmap.cellAt(event);
    if (cell) page.pin(...cell);
  });
  live.addEventListener("keydown", (event) => page.key(event));
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLSelectElement;
    if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "[") page.step(-1);
    if (event.key === "]") page.step(1);
  });
  window.addEventListener("hashchange", () =>
    page.show(stateOfHash(window.location.hash, page.shapes, page.state)),
  );
  page.dark.addEventListener("change", () => page.show(page.state));
  let width = live.clientWidth;
  new ResizeObserver(() => {
    if (live.clientWidth === width) return;
    width = live.clientWidth;
    page.show(page.state);
  }).observe(live);
}

async function start() {
  allowOnlyEmptyMarkup();
  const report = readJson("document");
  element("heatmap-still").hidden = true;
  for (const id of ["heatmap-live", "controls", "readout", "colourbar"]) element(id).hidden = false;
  const heatmap = await Heatmap.mount(element("heatmap-live"), report.heatmap);
  const page = new Page(report, heatmap);
  await page.show(stateOfHash(window.location.hash, page.shapes, page.state));
  listen(page);
  // Ready means painted: two frames later what was drawn is on the screen.
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      document.documentElement.dataset.ready = "true";
    }),
  );
}

start();
