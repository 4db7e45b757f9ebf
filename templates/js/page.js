// @ts-check
// The page: one state, and everything that shows it. Views draw; this decides what they draw.
import { Colourbar } from "./colourbar.js";
import { showControls } from "./controls.js";
import { colourOf, element } from "./dom.js";
import { showLinks } from "./links.js";
import { Overview } from "./overview.js";
import { showCell, showKey, showMean, showQuery, showSet } from "./readout.js";
import { sceneOf } from "./scene.js";
import { fitted, hashOfState, stateOfHash } from "./state.js";
import { VIEWS } from "./views.js";
import { Weights } from "./weights.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {{show: (scene: Scene) => Promise<void>,
 *   mark: (query: number | null, key: number | null) => Promise<void>,
 *   cellAt: (event: MouseEvent) => [number | null, number | null] | null,
 *   turned?: (press: string) => Partial<State> | null,
 *   walked?: (press: string, extending: boolean) => [number | null, number | null] | null,
 *   extended?: (cell: [number | null, number | null], upTo: boolean) => Partial<State>,
 *   table?: () => {columns: string[], rows: {label: string, values: (number | null)[]}[]}}} View
 *   `turned` says what else a key chooses, `walked` where an arrow key leads, where that is not from cell to cell; `extended` what is
 *   chosen when one more is added, `table` what its CSV holds, where that is not the matrix */

export class Page {
  /** @param {import("./weights.js").ReportDocument} report */
  constructor(report) {
    this.report = report;
    this.weights = new Weights(report);
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.shapes = [...report.layers, ...report.maps].map((layer) => ({
      heads: layer.heads,
      number: "number" in layer ? layer.number : undefined,
      numbers: "numbers" in layer ? layer.numbers : undefined,
      single: "variants" in layer,
      queries: report.axes[layer.queries].labels.length,
      keys: report.axes[layer.keys].labels.length,
      view: report.places[layer.keys] ? "overlay" : "heatmap", // where there is a picture, it is looked at first
    }));
    /** @type {Map<string, View>} */
    this.views = new Map();
    /** @type {State} */
    this.state = this.stateOfAddress();
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Promise<Colourbar> | null} */
    this.colourbar = null;
    /** @type {Promise<Overview> | null} */
    this.mounting = null;
    /** @type {Overview | null} */
    this.overview = null;
  }

  stateOfAddress(hash = window.location.hash) {
    const { layer, head, query } = this.report.shown;
    const choices = {
      views: Object.keys(VIEWS).filter((name) => name !== "overlay" || this.report.pictures.length),
      sorts: ["layer", ...this.report.measures.map(({ name }) => name)],
    };
    return stateOfHash(hash, this.shapes, choices, { layer, heads: [head], query });
  }

  /** Draw the state. */
  async show() {
    const { state } = this;
    const scene = await sceneOf(this.weights, state, this.dark.matches ? "dark" : "light");
    if (state !== this.state) return; // another choice was made while this one was read
    if ((state.query ?? 0) >= scene.base.rows) state.query = null;
    if ((state.key ?? 0) >= scene.base.columns) state.key = null;
    state.more = state.more.filter((one) => one < Math.max(scene.base.rows, scene.base.columns));
    this.scene = scene;
    document.documentElement.dataset.theme = scene.theme; // what was drawn, whatever is asked for in print
    showControls(this.report, scene);
    const view = await this.view(state.view);
    // Each waits for the browser to decode and paint its picture: together they wait once.
    await Promise.all([view.show(scene), this.showColourbar(scene), this.showOverview(scene)]);
    if (state !== this.state) return; // or while it was drawn
    this.describe(state.query, state.key);
    showLinks(scene);
  }

  /** @param {Scene} scene */
  async showColourbar(scene) {
    this.colourbar ??= Colourbar.mount(element("colourbar"), this.report.charts.colourbar);
    await (await this.colourbar).show(scene);
  }

  /** @param {Scene} scene */
  async showOverview(scene) {
    this.mounting ??= Overview.mount(element("overview-live"), this.report);
    this.overview = await this.mounting;
    await this.overview.show(scene, colourOf("--accent"));
  }

  /** Show a head that stands elsewhere in the overview, or add it where it is of the same layer.
   * @param {number} across @param {number} down @param {boolean} adding */
  async walk(across, down, adding) {
    const { layer, heads } = this.state;
    const last = across + down > 0 ? heads[heads.length - 1] : heads[0];
    const from = this.overview?.placeOf({ layer, heads: [last] });
    const to = from && this.overview?.cellOf(from.column + across, from.row + down);
    if (!to) return;
    const several = adding && to.layer === layer;
    const all = [...new Set([...heads, to.head])].sort((a, b) => a - b);
    await this.go({ layer: to.layer, heads: several ? all : [to.head] });
  }

  /** The view of that name, made when it is first asked for. @param {string} name */
  async view(name) {
    for (const other of Object.keys(VIEWS)) element(`${other}-live`).hidden = other !== name;
    for (const node of document.querySelectorAll("[data-only]")) {
      const only = /** @type {HTMLElement} */ (node);
      only.hidden = !only.dataset.only?.split(" ").includes(name);
    }
    const view = this.views.get(name) ?? (await VIEWS[name](element(`${name}-live`), this.report));
    this.views.set(name, view);
    return view;
  }

  /** Point at one cell without keeping it. @param {number | null} query @param {number | null} key */
  async point(query, key) {
    this.describe(query, key);
    await this.views.get(this.state.view)?.mark(query, key);
  }

  /** @param {number | null} query @param {number | null} key */
  describe(query, key) {
    if (!this.scene) return;
    const { state } = this;
    element("hide-query").hidden = state.query === null;
    element("hide-key").hidden = state.key === null;
    const set = state.view === "text" && state.more.length > 0 && query === state.query && key === state.key;
    if (set) this.describeSet();
    else if (query !== null && key !== null) showCell(this.scene, query, key);
    else if (query !== null) showQuery(this.scene, query);
    else if (key !== null) showKey(this.scene, key);
    else showMean(this.scene);
  }

  describeSet() {
    const view = /** @type {import("./text.js").Text | undefined} */ (this.views.get("text"));
    const { look, places } = view?.kept() ?? { look: /** @type {"to"} */ ("to"), places: [] };
    if (this.scene) showSet(this.scene, look, places);
  }

  /** Keep a cell. @param {number | null} query @param {number | null} key */
  async pin(query, key) {
    this.state.query = query;
    this.state.key = key;
    this.state.more = [];
    this.remember();
    await this.point(query, key);
  }

  /** Change what is shown. @param {Partial<State>} change */
  async go(change) {
    const next = { ...this.state, ...change };
    this.state = fitted(next, this.shapes[next.layer]);
    this.remember();
    await this.show();
  }

  /** Step to the next or previous head over the ends of layers, or variant over those of maps.
   * @param {number} by 1 or -1 */
  async step(by) {
    let { layer } = this.state;
    let head = this.state.heads[0] + by;
    if (head < 0 || head >= this.shapes[layer].heads) {
      const { layers, maps } = this.report;
      const [first, count] = this.shapes[layer].single ? [layers.length, maps.length] : [0, layers.length];
      layer = first + ((layer - first + by + count) % count);
      head = by > 0 ? 0 : this.shapes[layer].heads - 1;
    }
    await this.go({ layer, heads: [head] });
  }

  /** The address that leads back to what is shown. */
  hash() {
    return hashOfState(this.state, this.shapes);
  }

  /** Keep what is shown in the address, so that a link leads back to it. */
  remember() {
    try {
      window.history.replaceState(null, "", this.hash());
    } catch {
      // A sandboxed frame has no address to keep; the page works without.
    }
  }
}
