// @ts-check
// The overview: every head as a small picture, layer by layer or sorted by a measure, or as the colour
// of its score.
import { bytesOfText } from "./bytes.js";
import { drawn, mountChart, pointIn } from "./chart.js";
import { arranged, composed, placeOfHead } from "./grid.js";
import { inkOn, paletteOf } from "./palette.js";
import { codesOf, pictureOf } from "./png.js";
import { scoreCodes, spanOf, valueText } from "./scores.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./weights.js").ReportDocument} ReportDocument */
/** @typedef {import("./grid.js").Grid} Grid */

const LARGEST = 58;
const SMALLEST = 15;
const ROW_LETTER_PIXELS = 6.6;
/** In a column narrower than this "mean" would touch the last head's number: it begins with its column. */
const MEAN_PIXELS = 26;
const MEAN_INDENT = 3;
/** A cell of a chart narrower than this has no room for its number. */
const NUMBERED = 26;

/** Draw all heads into an element. */
export class Overview {
  /** @param {HTMLElement} element @param {any} view a Vega view
   * @param {ReportDocument} report @param {Uint8Array} codes of all small pictures */
  constructor(element, view, report, codes) {
    this.element = element;
    this.view = view;
    this.report = report;
    this.codes = codes;
    /** @type {Grid | null} */
    this.grid = null;
    /** What the last picture was made of, and that picture. */
    this.key = "";
    /** @type {{url: string, names: object[]} | null} */
    this.last = null;
    this.url = "";
  }

  /** @param {HTMLElement} element @param {ReportDocument} report */
  static async mount(element, report) {
    const { side, data } = report.thumbnails;
    // Behind all heads the mean of each layer.
    const pictures = report.layers.reduce((total, layer) => total + layer.heads, report.layers.length);
    const codes = await codesOf(bytesOfText(data), pictures * side, side);
    return new Overview(element, await mountChart(element, report.charts.overview), report, codes);
  }

  /** @param {Scene} scene @param {string} accent colour of the frame around what is shown */
  async show(scene, accent) {
    const room = this.element.clientWidth - 8;
    this.grid = arranged(this.report, scene.state, Math.max(1, Math.floor((room - 20) / LARGEST)));
    const { columns, rows, columnLabels, rowLabels } = this.grid;
    const longest = Math.max(0, ...rowLabels.map((label) => label.length));
    const margin = 12 + ROW_LETTER_PIXELS * longest;
    const cell = Math.max(SMALLEST, Math.min(LARGEST, Math.floor((room - margin) / columns)));
    const beginning = (/** @type {string} */ label) => label === "mean" && cell < MEAN_PIXELS;
    const columnTicks = columnLabels.map((label, at) => at + (beginning(label) ? MEAN_INDENT / cell : 0.5));
    const { url, names } = this.drawing(scene, cell >= NUMBERED);
    const same = url === this.url;
    this.url = url;
    this.view
      .signal("columns", columns)
      .signal("rows", rows)
      .signal("columnTicks", columnTicks)
      .signal("columnLabels", columnLabels)
      .signal("rowTicks", rowLabels.map((_, index) => index + 0.5))
      .signal("rowLabels", rowLabels)
      .signal("ink", scene.ink)
      .signal("accent", accent)
      .width(cell * columns)
      .height(cell * rows)
      .data("picture", [{ x0: 0, x1: columns, y0: 0, y1: rows, url }])
      .data("names", names)
      .data("chosen", this.chosen(scene));
    if (same) await this.view.resize().runAsync();
    else await drawn(this.element, this.view, url);
  }

  /** The picture of all heads, the last one where nothing of it changed.
   * @param {Scene} scene @param {boolean} numbered whether a number has room in a cell */
  drawing(scene, numbered) {
    const { sort, tiles, atLeast } = scene.state;
    const key = JSON.stringify([sort, tiles, atLeast, scene.theme, this.grid?.columns, numbered]);
    if (key !== this.key) this.last = this.drawingOf(scene, numbered);
    this.key = key;
    return /** @type {{url: string, names: object[]}} */ (this.last);
  }

  /** @param {Scene} scene @param {boolean} numbered */
  drawingOf({ state, theme, ink }, numbered) {
    const grid = /** @type {Grid} */ (this.grid);
    const palette = paletteOf(this.report.palettes[theme]);
    const measure = this.report.measures.find(({ name }) => name === state.sort);
    if (measure && state.tiles === "chart") return chart(grid, measure, palette, numbered);
    const { side } = this.report.thumbnails;
    const { codes, width, height } = composed(this.codes, side, grid);
    const named = grid.named ? grid.cells : [];
    const names = named.map(({ layer, head, value, column, row }) => ({
      x: column + 0.5,
      y: row + 0.9,
      text: `${this.report.layers[layer].number}.${this.report.layers[layer].numbers[head]} ${valueText(value)}`,
      ink,
    }));
    return { url: pictureOf(codes, height, width, palette), names };
  }

  /** @param {Scene} scene */
  chosen({ state }) {
    const grid = /** @type {Grid} */ (this.grid);
    return state.heads.flatMap((head) => {
      const place = placeOfHead(grid, state.layer, head);
      if (!place) return [];
      const { column, row } = place;
      return [{ x0: column, x1: column + 1, y0: row, y1: row + 1 }];
    });
  }

  /** Which head is under the pointer. @param {MouseEvent} event */
  headAt(event) {
    if (!this.grid) return null;
    const [x, y] = pointIn(this.element, this.view, event);
    const column = Math.floor(this.view.scale("x").invert(x));
    const row = Math.floor(this.view.scale("y").invert(y));
    return this.cellOf(column, row);
  }

  /** @param {number} column @param {number} row */
  cellOf(column, row) {
    return this.grid?.cells.find((cell) => cell.column === column && cell.row === row) ?? null;
  }

  /** @param {{layer: number, heads: number[]}} state */
  placeOf({ layer, heads }) {
    return this.grid && placeOfHead(this.grid, layer, heads[0]);
  }
}

/** @param {Grid} grid @param {import("./scores.js").Measure} measure @param {Uint8Array} palette
 * @param {boolean} numbered */
function chart(grid, measure, palette, numbered) {
  const levels = palette.length / 3 - 1;
  const codes = scoreCodes(grid, spanOf(measure), levels);
  const alphas = new Uint8Array(levels + 1).fill(255);
  alphas[levels - 1] = 0;
  const named = numbered ? grid.cells.filter(({ kept }) => kept) : [];
  const names = named.map(({ value, column, row }) => ({
    x: column + 0.5,
    y: row + 0.5,
    text: valueText(value),
    ink: inkOn(palette, codes[row * grid.columns + column]),
  }));
  return { url: pictureOf(codes, grid.rows, grid.columns, palette, alphas), names };
}
