// @ts-check
// The heatmap's live view: feeds the Vega chart, and tells which cell is pointed at.
import { cellNumber } from "./codes.js";

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {{matrix: Matrix, url: string, keys: string[], queries: string[], ink: string,
 *   palette: Uint8Array, levels: number}} Picture */

const CELL_PIXELS = 34;
const LABEL_PIXELS = { key: 17, query: 13 }; // slanted labels need more room
const NUMBER_PIXELS = 26;
const MAX_HEIGHT = 860;

/** Draw into `element` what `show` is given. */
export class Heatmap {
  /** @param {HTMLElement} element @param {any} view a Vega view */
  constructor(element, view) {
    this.element = element;
    this.view = view;
    this.rows = 1;
    this.columns = 1;
  }

  /** @param {HTMLElement} element @param {object} spec Vega */
  static async mount(element, spec) {
    const { vegaEmbed } = /** @type {any} */ (window);
    const { view } = await vegaEmbed(element, spec, {
      mode: "vega",
      ast: true, // interpreted: the page's policy forbids making code from text
      actions: false,
      defaultStyle: false,
      tooltip: false,
      hover: false,
      renderer: "svg",
      loader: refusingLoader(),
    });
    return new Heatmap(element, view);
  }

  /** @param {Picture} picture */
  async show(picture) {
    const { rows, columns } = picture.matrix;
    Object.assign(this, { rows, columns });
    const cell = this.cellSize(picture.queries);
    const width = Math.max(1, Math.round(cell * columns));
    const height = Math.max(1, Math.round(cell * rows));
    const { view } = this;
    view
      .signal("keyLabels", picture.keys)
      .signal("queryLabels", picture.queries)
      .signal("keyTicks", ticks(columns, width, LABEL_PIXELS.key))
      .signal("queryTicks", ticks(rows, height, LABEL_PIXELS.query))
      .signal("columns", columns)
      .signal("rows", rows)
      .signal("ink", picture.ink)
      .signal("numberSize", Math.min(11, Math.round(cell * 0.36)))
      .width(width)
      .height(height)
      .data("picture", [{ x0: 0, x1: columns, y0: 0, y1: rows, url: picture.url }])
      .data("cells", cell < NUMBER_PIXELS ? [] : numbers(picture));
    await view.runAsync();
    await this.painted(picture.url);
  }

  /** Wait until the picture is decoded: Vega puts it in place and does not wait for it.
   * @param {string} url */
  async painted(url) {
    for (let frame = 0; frame < 30; frame += 1) {
      const image = /** @type {any} */ (this.element.querySelector("svg image"));
      if (image?.getAttribute("href") === url) {
        await image.decode?.();
        return;
      }
      await new Promise(requestAnimationFrame);
    }
  }

  /** Mark one cell, or none. @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    const marks = [];
    if (query !== null) marks.push({ x0: 0, x1: this.columns, y0: query, y1: query + 1 });
    if (key !== null) marks.push({ x0: key, x1: key + 1, y0: 0, y1: this.rows });
    await this.view.data("cross", marks).runAsync();
  }

  /** Which cell is under the pointer. @param {MouseEvent} event @returns {[number, number] | null} */
  cellAt(event) {
    const svg = this.element.querySelector("svg");
    if (!svg) return null;
    const box = svg.getBoundingClientRect();
    const [left, top] = this.view.origin();
    const key = Math.floor(this.view.scale("x").invert(event.clientX - box.left - left));
    const query = Math.floor(this.view.scale("y").invert(event.clientY - box.top - top));
    const inside = key >= 0 && key < this.columns && query >= 0 && query < this.rows;
    return inside ? [query, key] : null;
  }

  /** The side of a cell in pixels: as large as fits beside the labels. @param {string[]} queries */
  cellSize(queries) {
    const labels = Math.min(118, longest(queries) * 7.5 + 12);
    const slant = 60; // the last key's label leans out over the right edge
    const room = Math.max(120, this.element.clientWidth - labels - slant);
    return Math.min(CELL_PIXELS, room / this.columns, MAX_HEIGHT / this.rows);
  }
}

/** A Vega loader for pictures that are in the page already, and for nothing else. */
function refusingLoader() {
  const refuse = async (/** @type {string} */ url) => {
    throw new Error(`this page loads nothing, it was asked for ${String(url).slice(0, 80)}`);
  };
  const sanitize = async (/** @type {string} */ url) =>
    String(url).startsWith("data:image/png;base64,") ? { href: url } : refuse(url);
  return { load: refuse, http: refuse, file: refuse, sanitize };
}

/** The middles of the cells that get a label.
 * @param {number} length @param {number} pixels @param {number} room pixels that a label needs */
function ticks(length, pixels, room) {
  const step = Math.max(1, Math.ceil((length * room) / pixels));
  return Array.from({ length: Math.ceil(length / step) }, (_, index) => index * step + 0.5);
}

/** @param {Picture} picture */
function numbers({ matrix, palette, levels }) {
  const cells = [];
  for (let index = 0; index < matrix.values.length; index += 1) {
    const weight = matrix.values[index];
    const number = cellNumber(weight);
    if (!number) continue;
    const code = Number.isFinite(weight) ? Math.round(Math.sqrt(weight) * (levels - 1)) : levels;
    cells.push({
      x: (index % matrix.columns) + 0.5,
      y: Math.floor(index / matrix.columns) + 0.5,
      number,
      ink: isDark(palette, code) ? "#ffffff" : "#15151c",
    });
  }
  return cells;
}

/** @param {Uint8Array} palette @param {number} code */
function isDark(palette, code) {
  const [red, green, blue] = palette.subarray(code * 3, code * 3 + 3);
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140;
}

/** @param {string[]} labels */
function longest(labels) {
  return labels.reduce((most, label) => Math.max(most, label.length), 1);
}
