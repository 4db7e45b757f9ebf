// @ts-check
// The arrow graph: the strongest weights as lines from who looks to what is looked at.
import { mountChart, pointIn } from "./chart.js";
import { about, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";
import { strongestEdges } from "./edges.js";
import { arcs, sides } from "./graph.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./edges.js").Edge} Edge */

const ROW_PIXELS = 20;
const WIDEST = { sides: 560, arcs: 720 };
const NAME_LIMIT = { wide: 130, narrow: 84 };
const NAME_LETTER_PIXELS = 7.5;
const SMALL = 480;
const THICKEST = { sides: 7, arcs: 4 };
const FAINTEST = 0.08;

/** Draw a scene as lines between names. */
export class Arrows {
  /** @param {HTMLElement} element @param {any} view a Vega view
   * @param {Record<string, string[]>} colours of heads by theme */
  constructor(element, view, colours) {
    this.element = element;
    this.view = view;
    this.colours = colours;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {import("./graph.js").Layout | null} */
    this.layout = null;
  }

  /** @param {HTMLElement} element @param {import("./weights.js").ReportDocument} report */
  static async mount(element, report) {
    const view = await mountChart(element, report.charts.arrows);
    return new Arrows(element, view, report.headColours);
  }

  /** One column with arcs, where a sequence looks at itself and that was asked for. */
  get curved() {
    return this.scene?.state.graph === "arcs" && this.scene.self;
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    const limit = this.element.clientWidth < SMALL ? NAME_LIMIT.narrow : NAME_LIMIT.wide;
    const longest = Math.max(...scene.axes.queries.labels.map(({ length }) => length));
    const half = Math.min(limit, longest * NAME_LETTER_PIXELS) / 2 + 8;
    const beside = this.curved ? 0 : 2 * (limit + 15);
    const widest = this.curved ? WIDEST.arcs : WIDEST.sides;
    const width = Math.max(80, Math.min(widest, this.element.clientWidth - beside - 8));
    this.layout = this.curved ? arcs(scene, half / width) : sides(scene);
    this.view
      .signal("rows", this.layout.rows)
      .signal("ink", scene.ink)
      .signal("nameLimit", limit)
      .signal("queryAlign", this.curved ? "center" : "right")
      .signal("queryOffset", this.curved ? 0 : -8)
      .width(width)
      .height(this.layout.rows * ROW_PIXELS)
      .data("queries", names(scene.axes.queries, this.layout.names.queries, this.layout.queriesAcross, this.layout.rows))
      .data("keys", names(scene.axes.keys, this.layout.names.keys, 1, this.layout.rows));
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
    if (!this.scene || !this.layout) return;
    const { scene, layout } = this;
    const row = query === null ? -1 : scene.queries.indices.indexOf(query);
    const column = key === null ? -1 : scene.keys.indices.indexOf(key);
    const { edges, share } = strongestEdges(scene.parts, scene.state.edges, leastOf(scene), { row, column });
    const among = (/** @type {number[]} */ places, /** @type {number | null} */ chosen) =>
      chosen !== null && places.includes(chosen) ? chosen : -1;
    this.view
      .data("edges", edges.flatMap((edge, index) => this.line(edge, index)))
      .signal("chosenQuery", among(layout.names.queries, this.curved ? (query ?? key) : query))
      .signal("chosenKey", among(layout.names.keys, key));
    element("arrows-words").textContent = words(scene, edges, share, row >= 0 || column >= 0);
    filled(element("arrows-legend"), this.legend(scene));
  }

  /** Which colour is which head, or sign, where there are several. @param {Scene} scene */
  legend({ parts, partNames }) {
    if (parts.length < 2) return [];
    return parts.flatMap((_, part) => {
      const swatch = made("span", "", "swatch");
      swatch.style.backgroundColor = this.colour(part);
      return [swatch, `${partNames[part]} `];
    });
  }

  /** @param {number} part */
  colour(part) {
    const colours = this.colours[this.scene?.theme ?? "light"];
    return colours[part % colours.length];
  }

  /** @param {Edge} edge @param {number} index */
  line(edge, index) {
    const share = edge.weight / /** @type {Scene} */ (this.scene).extent.top;
    const colour = this.colour(edge.part);
    const size = Math.max(0.6, (this.curved ? THICKEST.arcs : THICKEST.sides) * share);
    const strength = Math.max(FAINTEST, Math.min(1, Math.sqrt(share)));
    const points = this.layout?.points(edge) ?? [];
    return points.map(([x, y], step) => ({ edge: index, step, x, y, size, strength, colour }));
  }

  /** Which name is under the pointer: a query on the left half, a key on the right; of one column
   * what the choice of direction says.
   * @param {MouseEvent} event @returns {[number | null, number | null] | null} */
  cellAt(event) {
    if (!this.scene || !this.layout) return null;
    const [x, y] = pointIn(this.element, this.view, event);
    const { queries, keys } = this.layout.names;
    const asQuery = this.curved ? this.scene.state.look === "to" : x < this.view.width() / 2;
    const side = asQuery || this.curved ? queries : keys;
    const index = side[Math.floor((y / ROW_PIXELS / this.layout.rows) * side.length)];
    if (index === undefined) return null;
    return asQuery ? [index, null] : [null, index];
  }

  /** Where an arrow key leads: up and down from name to name, left and right to the other side.
   * @param {string} press @returns {[number | null, number | null] | null} */
  walked(press) {
    if (!this.scene || !this.layout) return null;
    const { query, key, look } = this.scene.state;
    const { queries, keys } = this.layout.names;
    let asQuery = this.curved ? look === "to" : query !== null || key === null;
    const side = (/** @type {boolean} */ left) => (left || this.curved ? queries : keys);
    const at = side(asQuery).indexOf((asQuery ? query : key) ?? -1);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -1e9, End: 1e9, ArrowLeft: 0, ArrowRight: 0 };
    if (!(press in steps)) return null;
    if (steps[press] === 0 && !this.curved) asQuery = press === "ArrowLeft";
    const to = Math.min(side(asQuery).length - 1, Math.max(0, at + steps[press]));
    return asQuery ? [side(true)[to], null] : [null, side(false)[to]];
  }
}

/** @param {import("./weights.js").Axis} axis @param {number[]} places @param {number} x
 * @param {number} rows */
function names({ labels }, places, x, rows) {
  return places.map((place, index) => ({ x, y: ((index + 0.5) * rows) / places.length, text: labels[place], place }));
}

/** The smallest weight that may become a line. @param {Scene} scene */
function leastOf({ state, extent }) {
  return (state.least / 100) ** 2 * extent.top;
}

/** @param {Scene} scene @param {Edge[]} edges @param {number} share @param {boolean} one */
function words(scene, edges, share, one) {
  const least = leastOf(scene);
  const bound = least ? `, of at least ${least.toFixed(4)}` : "";
  if (!edges.length) return least ? `No weight is at least ${least.toFixed(4)}.` : "No weight to draw.";
  const rounded = about(scene.rounded);
  const smallest = weightText(edges[edges.length - 1].weight, 0);
  const whole = one ? "the weight of the chosen name" : "all weight";
  const links = edges.length === 1 ? "The strongest link" : `The ${edges.length} strongest links`;
  return `${links}${bound}, down to ${rounded}${smallest}: ${rounded}${(share * 100).toFixed(1)} % of ${whole} is drawn.`;
}
