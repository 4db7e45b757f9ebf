// @ts-check
// The arrow graph: queries on the left, keys on the right, the strongest weights as lines.
import { mountChart, pointIn } from "./chart.js";
import { element, filled, made } from "./dom.js";
import { strongestEdges } from "./edges.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./edges.js").Edge} Edge */

const ROW_PIXELS = 20;
const WIDEST = 560;
const LABELS = 290; // both columns of names
const THICKEST = 7;
const FAINTEST = 0.08;

/** Draw a scene as lines between names. */
export class Arrows {
  /** @param {HTMLElement} element @param {any} view a Vega view @param {string[]} colours */
  constructor(element, view, colours) {
    this.element = element;
    this.view = view;
    this.colours = colours;
    /** @type {Scene | null} */
    this.scene = null;
  }

  /** @param {HTMLElement} element @param {import("./weights.js").ReportDocument} report */
  static async mount(element, report) {
    const view = await mountChart(element, report.charts.arrows);
    return new Arrows(element, view, report.headColours);
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    const { rows, columns } = scene.matrix;
    const height = Math.max(rows, columns);
    this.view
      .signal("rows", height)
      .signal("ink", scene.ink)
      .width(Math.max(80, Math.min(WIDEST, this.element.clientWidth - LABELS)))
      .height(height * ROW_PIXELS);
    this.feed(scene.state.query, scene.state.key);
    await this.view.resize().runAsync();
  }

  /** Show the lines of one query, of one key, or all. @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    this.feed(query, key);
    await this.view.runAsync();
  }

  /** @param {number | null} query @param {number | null} key */
  feed(query, key) {
    if (!this.scene) return;
    const { scene } = this;
    const row = query === null ? -1 : scene.queries.indices.indexOf(query);
    const column = key === null ? -1 : scene.keys.indices.indexOf(key);
    const wanted = (/** @type {number} */ r, /** @type {number} */ c) =>
      (row < 0 || r === row) && (column < 0 || c === column);
    const { edges, share } = strongestEdges(scene.parts, scene.state.edges, wanted);
    this.view
      .data("edges", edges.flatMap((edge, index) => this.line(edge, index)))
      .data("queries", names(scene.queries.labels, 0, row))
      .data("keys", names(scene.keys.labels, 1, column));
    element("arrows-words").textContent = words(edges, share, row >= 0 || column >= 0);
    filled(element("arrows-legend"), this.legend(scene));
  }

  /** Which colour is which head, or sign, where there are several. @param {Scene} scene */
  legend({ parts, partNames }) {
    if (parts.length < 2) return [];
    return parts.flatMap((_, part) => {
      const swatch = made("span", "", "swatch");
      swatch.style.backgroundColor = this.colours[part % this.colours.length];
      return [swatch, `${partNames[part]} `];
    });
  }

  /** An S-shaped line: it leaves and arrives level, so that lines to one name run together.
   * @param {Edge} edge @param {number} index */
  line({ row, column, weight, part }, index) {
    const colour = this.colours[part % this.colours.length];
    const share = weight / /** @type {Scene} */ (this.scene).extent.top;
    const size = Math.max(0.6, THICKEST * share);
    const strength = Math.max(FAINTEST, Math.min(1, Math.sqrt(share)));
    const [from, to] = [row + 0.5, column + 0.5];
    const points = [
      [0, from],
      [0.3, from],
      [0.7, to],
      [1, to],
    ];
    return points.map(([x, y], step) => ({ edge: index, step, x, y, size, strength, colour }));
  }

  /** Which name is under the pointer: a query on the left half, a key on the right.
   * @param {MouseEvent} event @returns {[number | null, number | null] | null} */
  cellAt(event) {
    if (!this.scene) return null;
    const [x, y] = pointIn(this.element, this.view, event);
    const place = Math.floor(y / ROW_PIXELS);
    const left = x < this.view.width() / 2;
    const index = (left ? this.scene.queries : this.scene.keys).indices[place];
    if (index === undefined) return null;
    return left ? [index, null] : [null, index];
  }
}

/** @param {string[]} labels @param {number} x @param {number} chosen */
function names(labels, x, chosen) {
  return labels.map((text, index) => ({
    x,
    y: index + 0.5,
    text,
    strength: chosen < 0 || chosen === index ? 1 : 0.45,
  }));
}

/** @param {Edge[]} edges @param {number} share @param {boolean} one */
function words(edges, share, one) {
  if (!edges.length) return "No weight to draw.";
  const least = edges[edges.length - 1].weight;
  const whole = one ? "the weight of the chosen name" : "all weight";
  return (
    `${edges.length} strongest links, down to ${least.toFixed(3)}: ` +
    `${(share * 100).toFixed(1)} % of ${whole} is drawn.`
  );
}
