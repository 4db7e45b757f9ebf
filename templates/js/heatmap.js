// @ts-check
// The heatmap: queries down, keys across. Feeds the Vega chart, and tells which cell is pointed at.
import { drawn, mountChart, pointIn } from "./chart.js";
import { cellNumber } from "./codes.js";
import { inkOn } from "./palette.js";
import { pictureOf } from "./png.js";
import { coloursOf } from "./scale.js";

/** @typedef {import("./scene.js").Scene} Scene */

const CELL_PIXELS = 40;
const LABEL_PIXELS = { key: 17, query: 13 }; // slanted labels need more room
const NUMBER_PIXELS = 26;
const MAX_HEIGHT = 860;
const LETTER_PIXELS = 7.5;
const LABEL_LIMIT = { wide: 110, narrow: 54 };
const NARROW = 480;

/** Draw a scene into an element. */
export class Heatmap {
  /** @param {HTMLElement} element @param {any} view a Vega view */
  constructor(element, view) {
    this.element = element;
    this.view = view;
    /** @type {Scene | null} */
    this.scene = null;
  }

  /** @param {HTMLElement} element @param {object} spec Vega */
  static async mount(element, spec) {
    return new Heatmap(element, await mountChart(element, spec));
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    const { matrix, queries, keys } = scene;
    const { rows, columns } = matrix;
    const limit = this.element.clientWidth < NARROW ? LABEL_LIMIT.narrow : LABEL_LIMIT.wide;
    const cell = cellSize(this.element.clientWidth, limit, scene);
    const width = Math.max(1, Math.round(cell * columns));
    const height = Math.max(1, Math.round(cell * rows));
    const codes = coloursOf(matrix, scene.state.scale, scene.state.range, scene.levels, scene.extent);
    const url = pictureOf(codes, rows, columns, scene.palette);
    this.view
      .signal("keyLabels", keys.labels)
      .signal("queryLabels", queries.labels)
      .signal("keyTicks", ticks(columns, width, LABEL_PIXELS.key))
      .signal("queryTicks", ticks(rows, height, LABEL_PIXELS.query))
      .signal("columns", columns)
      .signal("rows", rows)
      .signal("ink", scene.ink)
      .signal("labelLimit", limit)
      .signal("numberSize", Math.min(11, Math.round(cell * 0.36)))
      .width(width)
      .height(height)
      .data("picture", [{ x0: 0, x1: columns, y0: 0, y1: rows, url }])
      .data("cells", cell < NUMBER_PIXELS ? [] : numbers(scene, codes))
      .data("cross", this.crossOf(scene.state.query, scene.state.key));
    await drawn(this.element, this.view, url);
  }

  /** Mark one cell, or none. @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    await this.view.data("cross", this.crossOf(query, key)).runAsync();
  }

  /** Which cell is under the pointer. @param {MouseEvent} event @returns {[number, number] | null} */
  cellAt(event) {
    if (!this.scene) return null;
    const [x, y] = pointIn(this.element, this.view, event);
    const key = this.scene.keys.indices[Math.floor(this.view.scale("x").invert(x))];
    const query = this.scene.queries.indices[Math.floor(this.view.scale("y").invert(y))];
    return key === undefined || query === undefined ? null : [query, key];
  }

  /** The row and column of what is shown that lie nearest to the pointer. @param {MouseEvent} event
   * @returns {[number, number] | null} */
  nearest(event) {
    if (!this.scene) return null;
    const { rows, columns } = this.scene.matrix;
    const point = pointIn(this.element, this.view, event);
    const [column, row] = ["x", "y"].map((axis, at) => Math.floor(this.view.scale(axis).invert(point[at])));
    return [Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column))];
  }

  /** Mark what a frame goes around, by places before the window is cut.
   * @param {[number, number]} rows first and last @param {[number, number]} columns */
  async frame(rows, columns) {
    const { state } = /** @type {Scene} */ (this.scene);
    const [down, across] = [state.rows?.[0] ?? 0, state.columns?.[0] ?? 0];
    const [y0, y1, x0, x1] = [rows[0] - down, rows[1] + 1 - down, columns[0] - across, columns[1] + 1 - across];
    await this.view.data("cross", [{ x0, x1, y0, y1 }]).runAsync();
  }

  /** @param {number | null} query @param {number | null} key */
  crossOf(query, key) {
    if (!this.scene) return [];
    const { matrix, queries, keys } = this.scene;
    const row = query === null ? -1 : queries.indices.indexOf(query);
    const column = key === null ? -1 : keys.indices.indexOf(key);
    const marks = [];
    if (row >= 0) marks.push({ x0: 0, x1: matrix.columns, y0: row, y1: row + 1 });
    if (column >= 0) marks.push({ x0: column, x1: column + 1, y0: 0, y1: matrix.rows });
    return marks;
  }
}

/** The side of a cell in pixels: as large as fits beside the labels. The last key's label leans out
 * over the right edge.
 * @param {number} width @param {number} limit of a label @param {Scene} scene */
function cellSize(width, limit, { matrix, queries, keys }) {
  const beside = Math.max(...queries.labels.map((label) => labelPixels(label, limit)));
  const last = Math.max(...keys.labels.slice(-4).map((label) => labelPixels(label, limit)));
  const room = Math.max(120, width - beside - last * Math.SQRT1_2);
  return Math.min(CELL_PIXELS, room / matrix.columns, MAX_HEIGHT / matrix.rows);
}

/** @param {string} label @param {number} limit */
function labelPixels(label, limit) {
  return Math.min(limit, label.length * LETTER_PIXELS) + 10;
}

/** The middles of the cells that get a label.
 * @param {number} length @param {number} pixels @param {number} room pixels that a label needs */
function ticks(length, pixels, room) {
  const step = Math.max(1, Math.ceil((length * room) / pixels));
  return Array.from({ length: Math.ceil(length / step) }, (_, index) => index * step + 0.5);
}

/** @param {Scene} scene @param {Uint8Array} codes */
function numbers({ matrix, palette }, codes) {
  const cells = [];
  for (let index = 0; index < matrix.values.length; index += 1) {
    const number = cellNumber(matrix.values[index]);
    if (!number) continue;
    cells.push({
      x: (index % matrix.columns) + 0.5,
      y: Math.floor(index / matrix.columns) + 0.5,
      number,
      ink: inkOn(palette, codes[index]),
    });
  }
  return cells;
}
