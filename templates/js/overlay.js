// @ts-check
// The overlay: the picture with the attention over it, patch by patch. Patches are drawn at their
// boxes; where boxes make an even grid, checked box by box, the map is one small picture.
import { boxAt, gridOf } from "./boxes.js";
import { drawn, mountChart, painted, pointIn } from "./chart.js";
import { weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";
import { layerAt } from "./maps.js";
import { pictureOf } from "./png.js";
import { placeOf } from "./scale.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./weights.js").ReportDocument} ReportDocument */
/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {import("./boxes.js").Grid} Grid */
/** @typedef {"queries" | "keys"} Side */
/** @typedef {{picture: number, boxes: (Box | null)[]}} Places */

const PICTURE_HEIGHT = 560;
const MOST_ENLARGED = 8;
const PICTURE_LABELS = 60;

/** Draw a scene over the picture that its positions have boxes in. */
export class Overlay {
  /** @param {HTMLElement} names @param {HTMLElement} chart @param {any} view a Vega view
   * @param {ReportDocument} report */
  constructor(names, chart, view, report) {
    this.names = names;
    this.chart = chart;
    this.view = view;
    this.report = report;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Record<Side, Places | null>} */
    this.places = { queries: null, keys: null };
    /** @type {Side} the side that is drawn; one position of the other is chosen */
    this.shown = "keys";
    /** @type {Grid | null} */
    this.grid = null;
  }

  /** @param {HTMLElement} parent @param {ReportDocument} report */
  static async mount(parent, report) {
    const [names, chart] = [made("p", "", "flow"), made("div", "")];
    filled(parent, [names, chart]);
    return new Overlay(names, chart, await mountChart(chart, report.overlay ?? {}), report);
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    this.places = { queries: this.placesOf(scene, "queries"), keys: this.placesOf(scene, "keys") };
    const wanted = scene.state.look === "from" ? "queries" : "keys";
    this.shown = this.places[wanted] ? wanted : other(wanted);
    const places = this.places[this.shown];
    this.chart.hidden = !places;
    this.showNames();
    if (!places) {
      element("overlay-words").textContent =
        scene.state.unit === "words"
          ? "Choose tokens as unit: words have no place in the picture."
          : "No position of this layer has a place in the picture; choose another layer.";
      return;
    }
    this.grid = gridOf(places.boxes);
    const { width, height } = this.report.pictures[places.picture];
    const url = this.report.pictures[places.picture].url ?? stillPicture();
    const room = Math.max(120, this.chart.clientWidth - PICTURE_LABELS);
    const size = Math.min(room / width, PICTURE_HEIGHT / height, MOST_ENLARGED);
    this.view
      .signal("pictureWidth", width)
      .signal("pictureHeight", height)
      .signal("ink", scene.ink)
      .width(Math.max(1, Math.round(width * size)))
      .height(Math.max(1, Math.round(height * size)))
      .data("source", [{ x0: 0, x1: width, y0: 0, y1: height, url }]);
    await drawn(this.chart, this.view, url);
    await this.mark(scene.state.query, scene.state.key);
  }

  /** Show the map of one query, or who looks at one key.
   * @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    const places = this.places[this.shown];
    if (!this.scene || !places) return;
    const chosen = this.shown === "keys" ? query : key;
    const values = mapOf(this.scene, this.shown, chosen);
    const largest = places.boxes.reduce(
      (most, box, index) => (box && Math.abs(values[index]) > most ? Math.abs(values[index]) : most),
      0,
    );
    const top = this.scene.state.range === "row" ? largest || 1 : this.scene.extent.top;
    this.feed(places.boxes, this.codesOf(values, top));
    this.view.data("chosen", this.boxesOf(query, key));
    this.describe(values, chosen, largest, top);
    this.names.querySelectorAll("[data-index]").forEach((node) => {
      const { index } = /** @type {HTMLElement} */ (node).dataset;
      node.classList.toggle("chosen", Number(index) === chosen);
    });
    const url = this.view.data("map")[0]?.url;
    await this.view.runAsync();
    if (url) await painted(this.chart, url);
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
    const [x, y] = pointIn(this.chart, this.view, event);
    const [across, down] = [this.view.scale("x").invert(x), this.view.scale("y").invert(y)];
    const same = this.places[choosing]?.picture === drawnPlaces.picture;
    if (same) {
      const index = boxAt(this.places[choosing]?.boxes ?? [], across, down);
      return index < 0 ? null : this.cell(choosing, index, null);
    }
    const index = boxAt(drawnPlaces.boxes, across, down);
    return index < 0 ? null : this.cell(this.shown, index, choosing === "queries" ? query : key);
  }

  /** @param {Side} side @param {number} index @param {number | null} opposite
   * @returns {[number | null, number | null]} query and key */
  cell(side, index, opposite) {
    return side === "queries" ? [index, opposite] : [opposite, index];
  }

  /** @param {Scene} scene @param {Side} side @returns {Places | null} */
  placesOf(scene, side) {
    const places = this.report.places[layerAt(this.report, scene.state.layer)[side]];
    // Tokens that became words are other positions than the boxes are of.
    return places && places.boxes.length === scene.axes[side].labels.length ? places : null;
  }

  /** Positions that choose and have no place in the picture stand above it. */
  showNames() {
    const { axes } = /** @type {Scene} */ (this.scene);
    const side = other(this.shown);
    const boxes = this.places[side]?.boxes;
    const nodes = axes[side].labels.flatMap((label, index) => {
      if (boxes?.[index]) return [];
      const node = made("span", label, "token added");
      node.dataset.index = String(index);
      return [node];
    });
    filled(this.names, this.places[this.shown] ? nodes : []);
  }

  /** @param {Float32Array} values @param {number} top @returns {Uint8Array} */
  codesOf(values, top) {
    const { state, levels, extent } = /** @type {Scene} */ (this.scene);
    const within = { top, signed: extent.signed };
    return Uint8Array.from(values, (weight) =>
      Number.isFinite(weight) ? Math.round(placeOf(state.scale, weight, within) * (levels - 1)) : levels,
    );
  }

  /** @param {(Box | null)[]} boxes @param {Uint8Array} codes one for each position */
  feed(boxes, codes) {
    const { palette, levels, state, extent } = /** @type {Scene} */ (this.scene);
    const alpha = (/** @type {number} */ code) => {
      const place = code / (levels - 1);
      const size = extent.signed ? Math.abs(2 * place - 1) : place;
      return (state.opacity / 100) * (code === levels ? 1 : Math.min(1, 2 * size));
    };
    if (this.grid) {
      const { rows, columns, places, extent } = this.grid;
      const alphas = Uint8Array.from({ length: levels + 1 }, (_, code) => Math.round(alpha(code) * 255));
      const pixels = Uint8Array.from(places, (index) => codes[index]);
      const url = pictureOf(pixels, rows, columns, palette, alphas);
      this.view.data("map", [{ ...extent, url }]).data("patches", []);
      return;
    }
    const patches = boxes.flatMap((box, index) => {
      if (!box) return [];
      const [x0, y0, x1, y1] = box;
      const colour = `rgb(${palette.subarray(codes[index] * 3, codes[index] * 3 + 3).join(",")})`;
      return [{ x0, y0, x1, y1, colour, opacity: alpha(codes[index]) }];
    });
    this.view.data("map", []).data("patches", patches);
  }

  /** The outlines of query and key, where they have a place in this picture.
   * @param {number | null} query @param {number | null} key */
  boxesOf(query, key) {
    const picture = this.places[this.shown]?.picture;
    const found = [
      query !== null && this.places.queries?.picture === picture && this.places.queries?.boxes[query],
      key !== null && this.places.keys?.picture === picture && this.places.keys?.boxes[key],
    ];
    return found.flatMap((box) => (box ? [{ x0: box[0], y0: box[1], x1: box[2], y1: box[3] }] : []));
  }

  /** Say how much of the attention the picture shows, and what its colours stand for.
   * @param {Float32Array} values @param {number | null} chosen @param {number} largest
   * @param {number} top the weight of full colour */
  describe(values, chosen, largest, top) {
    const { axes, map, title } = /** @type {Scene} */ (this.scene);
    const name = chosen === null ? "" : `“${axes[other(this.shown)].labels[chosen]}”`;
    const parts = [];
    if (this.shown === "queries" && chosen === null) {
      parts.push("Choose a key to see who looks at it.");
    } else if (map) {
      parts.push(`${title}, ${name || "mean over all queries"}.`);
    } else if (this.shown === "queries") {
      parts.push(`Who looks at ${name}: each patch shows how much of its own attention goes there.`);
    } else {
      parts.push(chosen === null ? "Mean over all queries:" : `Of what ${name} looks at,`);
      parts.push(`${this.shares(values)}.`);
    }
    parts.push(`Largest patch: ${weightText(largest, 0)}; full colour stands for ${weightText(top, 0)}.`);
    element("overlay-words").textContent = parts.join(" ");
  }

  /** @param {Float32Array} values */
  shares(values) {
    const { axes } = /** @type {Scene} */ (this.scene);
    const boxes = this.places.keys?.boxes ?? [];
    const sums = { picture: 0, special: 0, text: 0 };
    values.forEach((weight, index) => {
      if (!Number.isFinite(weight)) return;
      if (boxes[index]) sums.picture += weight;
      else sums[axes.keys.roles[index] === "s" ? "special" : "text"] += weight;
    });
    const share = (/** @type {number} */ sum) => `${(sum * 100).toFixed(1)} %`;
    const special = `${share(sums.special)} on special positions`;
    const text = axes.keys.text === null ? "" : ` and ${share(sums.text)} on text`;
    return `${share(sums.picture)} falls on the picture, ${special}${text}`;
  }
}

/** The picture that the still overlay carries: it stands in the page once. */
function stillPicture() {
  return element("overlay-still").querySelector("image")?.href.baseVal ?? "";
}

/** The weights to draw: a query's row, the mean of all rows, or a key's column.
 * @param {Scene} scene @param {Side} shown @param {number | null} chosen @returns {Float32Array} */
function mapOf({ base }, shown, chosen) {
  const { rows, columns, values } = base;
  if (shown === "queries") {
    return Float32Array.from({ length: rows }, (_, row) =>
      chosen === null ? 0 : values[row * columns + chosen],
    );
  }
  if (chosen !== null) return values.slice(chosen * columns, (chosen + 1) * columns);
  const mean = new Float32Array(columns);
  values.forEach((weight, index) => {
    mean[index % columns] += weight / rows;
  });
  return mean;
}

/** @param {Side} side @returns {Side} */
function other(side) {
  return side === "keys" ? "queries" : "keys";
}

/** @param {import("./page.js").Page} page */
export function listenToOverlay(page) {
  const look = /** @type {HTMLSelectElement} */ (element("look-select"));
  const opacity = /** @type {HTMLInputElement} */ (element("opacity"));
  look.value = page.state.look;
  opacity.value = String(page.state.opacity);
  look.addEventListener("change", () => page.go(/** @type {any} */ ({ look: look.value })));
  opacity.addEventListener("input", () => page.go({ opacity: Number(opacity.value) }));
  element("overlay-tab").hidden = !page.report.pictures.length;
}
