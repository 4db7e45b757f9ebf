// @ts-check
// The overlay: the picture with the attention over it, patch by patch. Patches are drawn at their
// boxes; where boxes make an even grid, checked box by box, the map is one small picture.
import { boxAt, gridOf, overlapping } from "./boxes.js";
import { drawn, mountChart, painted, pointIn } from "./chart.js";
import { Colourbar } from "./colourbar.js";
import { element, filled, made, picker } from "./dom.js";
import { layerAt } from "./maps.js";
import { CONTROLS } from "./overlaycontrols.js";
import { ALL, beside, chosenPart, partsHeld, placesIn, showParts, shownOf, sumsOf } from "./parts.js";
import { alphasOf, contourLines, mapPicture, placed, patchRects, cornersOf } from "./overlaymarks.js";
import { overlayWords, sharesOf } from "./overlaywords.js";
import { laidOut, ticksOf } from "./panels.js";
import { mapOf } from "./smoothing.js";
import { scaleWords } from "./scale.js";
import { neighbour } from "./stepping.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./weights.js").ReportDocument} ReportDocument */
/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {import("./boxes.js").Grid} Grid */
/** @typedef {import("./smoothing.js").Side} Side */
/** @typedef {import("./panels.js").Layout} Layout */
/** @typedef {import("./parts.js").Places} Places */
/** @typedef {import("./parts.js").Written} Written */
/** @typedef {import("./overlaymarks.js").Laid} Laid */

const HEIGHT = { over: 560, contours: 560, beside: 560, heads: 960 };
const AXIS_LABELS = 60;
/** On less than this, side by side is one below the other. */
const WIDE = 360;

/** Draw a scene over the picture that its positions have boxes in. */
export class Overlay {
  /** @param {HTMLElement} names @param {HTMLElement} chart @param {any} view a Vega view
   * @param {Colourbar} colourbar @param {ReportDocument} report */
  constructor(names, chart, view, colourbar, report) {
    this.names = names;
    this.chart = chart;
    this.view = view;
    this.colourbar = colourbar;
    this.report = report;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Record<Side, Places | null>} */
    this.places = { queries: null, keys: null };
    /** @type {Side} the side that is drawn; one position of the other is chosen */
    this.shown = "keys";
    /** which part of the picture is shown */
    this.part = ALL;
    /** @type {Grid | null} */
    this.grid = null;
    /** @type {Layout} */
    this.layout = { panels: [], columns: 1, across: 1, down: 1, size: 1 };
    /** @type {Laid[]} */
    this.laid = [];
    /** @type {string | undefined} of the first map, once it is a picture */
    this.mapUrl = undefined;
  }

  /** @param {HTMLElement} parent @param {ReportDocument} report */
  static async mount(parent, report) {
    const [names, chart] = [made("p", "", "flow"), made("div", "")];
    filled(parent, [names, chart]);
    const [view, colourbar] = await Promise.all([
      mountChart(chart, report.charts.overlay),
      Colourbar.mount(element("overlay-bar"), report.charts.colourbar),
    ]);
    return new Overlay(names, chart, view, colourbar, report);
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    for (const name of CONTROLS) picker(`${name}-select`).value = scene.state[name];
    const wanted = scene.state.look === "from" ? "queries" : "keys";
    this.shown = this.written(wanted) ? wanted : other(wanted);
    const written = this.written(this.shown);
    this.part = written ? chosenPart(written, scene.state.part) : ALL;
    this.places = { queries: this.placesOf("queries"), keys: this.placesOf("keys") };
    const places = this.places[this.shown];
    this.chart.hidden = !places;
    element("overlay-parts").hidden = !places;
    element("overlay-scale").hidden = !places || scene.state.mode === "contours";
    this.showNames();
    if (!places) {
      element("overlay-words").textContent =
        scene.state.unit === "words"
          ? `Choose tokens as unit: words have no place in the ${this.report.seen[0]}.`
          : `No position of this layer has a place in the ${this.report.seen[0]}; choose another layer.`;
      return;
    }
    this.grid = gridOf(places.boxes);
    const picture = this.report.pictures[places.picture];
    const url = this.lay(shownOf({ ...picture, url: picture.url ?? stillPicture() }, this.part), scene);
    this.map(scene.state.query, scene.state.key);
    await drawn(this.chart, this.view, url);
    if (this.mapUrl) await painted(this.chart, this.mapUrl);
    if (scene.state.mode !== "contours") await this.showScale();
  }

  /** Put the picture into the chart, once or several times; return its URL.
   * @param {import("./parts.js").Shown} picture @param {Scene} scene */
  lay(picture, { state, bases, ink }) {
    const count = state.mode === "heads" ? bases.length : state.mode === "beside" ? 2 : 1;
    const room = {
      width: Math.max(120, this.chart.clientWidth - AXIS_LABELS),
      height: HEIGHT[state.mode],
    };
    const titled = state.mode === "heads";
    const least = state.mode === "beside" && room.width >= WIDE ? 2 : 1;
    this.layout = laidOut(count, picture, room, titled, least);
    const { panels, across, down, size } = this.layout;
    const starts = (/** @type {"x" | "y"} */ side) =>
      titled ? [] : [...new Set(panels.map((panel) => panel[side]))];
    const ticks = {
      x: ticksOf(picture.width, size, starts("x"), picture.scales?.[0]),
      y: ticksOf(picture.height, size, starts("y"), picture.scales?.[1]),
    };
    for (const side of /** @type {const} */ (["x", "y"])) {
      this.view
        .signal(`${side}Ticks`, ticks[side].map(({ value }) => value))
        .signal(`${side}Labels`, ticks[side].map(({ label }) => label));
    }
    const { url } = picture;
    const sides = { x0: 0, x1: picture.width, y0: 0, y1: picture.height };
    this.view
      .signal("across", across)
      .signal("down", down)
      .signal("ink", ink)
      .width(Math.max(1, Math.round(across * size)))
      .height(Math.max(1, Math.round(down * size)))
      .data("source", panels.map((panel) => ({ ...placed(sides, panel), url })));
    return url;
  }

  /** Show the map of one query, or who looks at one key.
   * @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    if (!this.scene || !this.places[this.shown]) return;
    this.map(query, key);
    await this.view.runAsync();
    if (this.mapUrl) await painted(this.chart, this.mapUrl);
    if (this.scene.state.full === "largest" && this.scene.state.mode !== "contours") await this.showScale();
  }

  /** @param {number | null} query @param {number | null} key */
  map(query, key) {
    const { state, base, bases, extent } = /** @type {Scene} */ (this.scene);
    const { boxes } = /** @type {Places} */ (this.places[this.shown]);
    const chosen = this.shown === "keys" ? query : key;
    const { panels } = this.layout;
    const [matrices, on] =
      state.mode === "heads" ? [bases, panels] : [[base], panels.slice(-1)];
    this.laid = matrices.map((matrix, nth) => {
      const values = mapOf(matrix, this.shown, chosen);
      const largest = largestPatch(values, boxes);
      const top = state.full === "largest" ? largest || 1 : extent.top;
      return { panel: on[nth], values, largest, top };
    });
    this.feed(boxes);
    const outlined = this.boxesOf(query, key);
    this.view
      .data("chosen", panels.flatMap((panel) => outlined.map((box) => placed(box, panel))))
      .data("names", this.titles());
    this.describe(chosen, mapOf(base, this.shown, chosen));
    this.names.querySelectorAll("[data-index]").forEach((node) => {
      const { index } = /** @type {HTMLElement} */ (node).dataset;
      node.classList.toggle("chosen", Number(index) === chosen);
    });
  }

  /** @param {(Box | null)[]} boxes */
  feed(boxes) {
    const scene = /** @type {Scene} */ (this.scene);
    const { grid } = this;
    const lines = scene.state.mode === "contours";
    const maps = lines ? [] : this.laid;
    const pictures = grid ? maps.map((one) => mapPicture(scene, one, grid)) : [];
    this.mapUrl = pictures[0]?.url;
    this.view
      .data("contours", lines ? this.laid.flatMap((one) => contourLines(scene, one, grid, boxes)) : [])
      .data("map", pictures)
      .data("patches", grid ? [] : maps.flatMap((one) => patchRects(scene, one, boxes)));
  }

  /** What stands above each head's panel. */
  titles() {
    const { state, numbers, axes, map } = /** @type {Scene} */ (this.scene);
    if (state.mode !== "heads" || map) return [];
    const boxes = this.places[this.shown]?.all ?? [];
    return this.laid.map(({ panel, values }, nth) => {
      const { picture } = sharesOf(values, axes[this.shown], boxes);
      const share = this.shown === "keys" ? ` (${(picture * 100).toFixed(0)} %)` : "";
      return { x0: panel.x, y0: panel.y, text: `head ${numbers.heads[nth]}${share}` };
    });
  }

  /** The colour bar in the weights of the shown map. */
  async showScale() {
    const scene = /** @type {Scene} */ (this.scene);
    const { state } = scene;
    const each = state.mode === "heads" && state.full === "largest";
    const what = each ? "share of each map’s largest" : `${scene.map ? "value" : "weight"} of a ${this.report.seen[1]}`;
    const extent = { top: each ? 1 : this.laid[0].top, signed: scene.extent.signed };
    element("overlay-scale-words").textContent = scaleWords(state.scale, "fixed", extent, what);
    await this.colourbar.show(scene, extent, alphasOf(scene));
  }

  /** Which position is under the pointer: one that chooses, or else one of what is drawn.
   * @param {MouseEvent} event @returns {[number | null, number | null] | null} */
  cellAt(event) {
    const drawnPlaces = this.places[this.shown];
    if (!this.scene || !drawnPlaces) return null;
    const { query, key } = this.scene.state;
    const choosing = other(this.shown);
    const name = /** @type {HTMLElement} */ (event.target).closest("[data-index]");
    if (name instanceof HTMLElement) return this.cell(choosing, Number(name.dataset.index), null);
    const [across, down] = this.placeIn(event);
    const same = this.places[choosing]?.picture === drawnPlaces.picture;
    if (same) {
      const index = boxAt(this.places[choosing]?.boxes ?? [], across, down);
      return index < 0 ? null : this.cell(choosing, index, null);
    }
    const index = boxAt(drawnPlaces.boxes, across, down);
    return index < 0 ? null : this.cell(this.shown, index, choosing === "queries" ? query : key);
  }

  /** Where an event lies in the picture, whichever panel it is in. @param {MouseEvent} event
   * @returns {[number, number]} in pixels of the picture */
  placeIn(event) {
    const [x, y] = pointIn(this.chart, this.view, event);
    const [across, down] = [this.view.scale("x").invert(x), this.view.scale("y").invert(y)];
    const { panels } = this.layout;
    const under = panels.filter((panel) => panel.x <= across && panel.y <= down).pop() ?? panels[0];
    return [across - under.x, down - under.y];
  }

  /** The cell that an arrow key leads to: the patch next to the chosen one, in that direction.
   * @param {string} pressed @returns {[number | null, number | null] | null} */
  walked(pressed) {
    if (!this.scene || !this.places[this.shown]) return null;
    const { state, axes } = this.scene;
    const choosing = other(this.shown);
    const chosen = choosing === "queries" ? state.query : state.key;
    const boxes = this.places[choosing]?.boxes ?? axes[choosing].labels.map(() => null);
    const next = neighbour(pressed, chosen, boxes);
    return next === null ? null : this.cell(choosing, next, null);
  }

  /** @param {Side} side @param {number} index @param {number | null} opposite
   * @returns {[number | null, number | null]} query and key */
  cell(side, index, opposite) {
    return side === "queries" ? [index, opposite] : [opposite, index];
  }

  /** @param {Side} side @returns {Written | null} */
  written(side) {
    const { state, axes } = /** @type {Scene} */ (this.scene);
    const written = this.report.places[layerAt(this.report, state.layer)[side]];
    // Tokens that became words are other positions than the boxes are of.
    return written && written.boxes.length === axes[side].labels.length ? written : null;
  }

  /** @param {Side} side @returns {Places | null} */
  placesOf(side) {
    const written = this.written(side);
    if (!written) return null;
    const same = written.picture === this.written(this.shown)?.picture;
    return placesIn(written, same ? this.part : ALL, this.report.pictures[written.picture]);
  }

  /** What a key chooses beside a position: comma and full stop lead from part to part.
   * @param {string} pressed @returns {Partial<import("./state.js").State> | null} */
  turned(pressed) {
    const written = this.scene && this.written(this.shown);
    const by = { ",": -1, ".": 1 }[pressed];
    if (!written || !by || partsHeld(written).length < 2) return null;
    return { part: beside(partsHeld(written), this.part, by) };
  }

  /** Positions that choose and have no place in the picture stand above it. */
  showNames() {
    const { axes } = /** @type {Scene} */ (this.scene);
    const side = other(this.shown);
    const boxes = this.places[side]?.all;
    const nodes = axes[side].labels.flatMap((label, index) => {
      if (boxes?.[index]) return [];
      const node = made("span", label, "token added");
      node.dataset.index = String(index);
      return [node];
    });
    filled(this.names, this.places[this.shown] ? nodes : []);
  }

  /** The outlines of query and key, where they have a place in this picture.
   * @param {number | null} query @param {number | null} key */
  boxesOf(query, key) {
    const picture = this.places[this.shown]?.picture;
    const found = [
      query !== null && this.places.queries?.picture === picture && this.places.queries?.boxes[query],
      key !== null && this.places.keys?.picture === picture && this.places.keys?.boxes[key],
    ];
    return found.flatMap((box) => (box ? [cornersOf(box)] : []));
  }

  /** @param {number | null} chosen @param {Float32Array} values of all shown heads together */
  describe(chosen, values) {
    const { axes, state, map, title } = /** @type {Scene} */ (this.scene);
    const side = other(this.shown);
    const { boxes, all } = /** @type {Places} */ (this.places[this.shown]);
    const shares = sharesOf(values, axes[this.shown], all);
    const part = this.showParts(values, shares);
    element("overlay-words").textContent = overlayWords({
      shown: this.shown,
      name: chosen === null ? null : axes[side].labels[chosen],
      shares,
      part,
      withText: axes[this.shown].text !== null,
      heads: state.heads.length,
      map: map ? title : "",
      largest: Math.max(...this.laid.map(({ largest }) => largest)),
      top: this.laid[0].top,
      mode: state.mode,
      smooth: state.patches === "smooth",
      even: this.grid !== null,
      rounded: !this.report.exact,
      mixed: overlapping(boxes),
      seen: this.report.seen,
    });
  }

  /** The buttons of all parts, with what falls on each; returns the same of the shown one.
   * @param {Float32Array} values @param {import("./overlaywords.js").Shares} shares */
  showParts(values, { picture, special, text }) {
    const written = /** @type {Written} */ (this.written(this.shown));
    const { parts = [] } = this.report.pictures[written.picture];
    const sums = sumsOf(values, written);
    const onPicture = picture / (this.shown === "keys" ? 1 : picture + special + text || 1);
    const inParts = [...sums.values()].reduce((total, sum) => total + sum, 0) || 1;
    const share = (/** @type {number} */ part) =>
      onPicture * (part === ALL ? 1 : (sums.get(part) ?? 0) / inParts);
    const words = (/** @type {number} */ part) => {
      const name = part === ALL ? "all" : parts[part].name;
      const about = this.report.exact ? "" : "≈ ";
      return this.scene?.map ? name : `${name} · ${about}${(share(part) * 100).toFixed(1)} %`;
    };
    element("overlay-parts").hidden = partsHeld(written).length < 2;
    showParts(element("part-buttons"), partsHeld(written), this.part, words);
    return this.part === ALL ? null : { name: parts[this.part].name, share: share(this.part) };
  }

  /** What is shown as rows of a table: every position of the drawn side, its box, its weights. */
  table() {
    const { axes, numbers, state } = /** @type {Scene} */ (this.scene);
    const boxes = this.places[this.shown]?.all ?? [];
    const columns =
      state.mode === "heads" ? numbers.heads.map((head) => `head ${head}`) : ["weight"];
    return {
      columns: ["x0", "y0", "x1", "y1", ...columns],
      rows: axes[this.shown].labels.map((label, index) => ({
        label,
        values: [
          ...(boxes[index] ?? [null, null, null, null]),
          ...this.laid.map(({ values }) => values[index]),
        ],
      })),
    };
  }
}

/** The picture that the still overlay carries: it stands in the page once. */
function stillPicture() {
  return element("overlay-still").querySelector("image")?.href.baseVal ?? "";
}

/** @param {Float32Array} values @param {(Box | null)[]} boxes */
function largestPatch(values, boxes) {
  return boxes.reduce((most, box, index) => {
    const size = box ? Math.abs(values[index]) : 0;
    return size > most ? size : most;
  }, 0);
}

/** @param {Side} side @returns {Side} */
function other(side) {
  return side === "keys" ? "queries" : "keys";
}
