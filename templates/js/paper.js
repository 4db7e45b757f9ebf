// @ts-check
// A picture as it goes on paper: below it its colour bar, and in words what the colours stand for.
import { element, picker } from "./dom.js";
import { sceneOf } from "./scene.js";
import { shape, svgText } from "./svg.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {{view: any, words: string, ink: string}} Bar a Vega view, and what stands above it */
/** @typedef {{width: number, height: number}} Size */

const PIXELS = 3; // of a canvas, for one of the page
const BAR_GAP = 14;
const LINE = 18; // of the words
const FONT = { "font-size": 12, "font-family": "system-ui, sans-serif" };
const CANVAS_FONT = `${FONT["font-size"]}px ${FONT["font-family"]}`;

/** Draw in the colours for paper, on the chosen ground, while something is taken.
 * @template T
 * @param {Page} page @param {(view: any, bar: Bar | null, ground: string) => Promise<T>} take
 * @returns {Promise<T>} */
export async function onPaper(page, take) {
  const shown = /** @type {any} */ (page.views.get(page.state.view));
  const dark = page.scene?.theme !== "light";
  if (dark) {
    const scene = await sceneOf(page.weights, page.state, "light");
    await Promise.all([shown.show(scene), page.showColourbar(scene)]);
  }
  const ground = picker("ground-select").value;
  shown.view.background(ground);
  try {
    return await take(shown.view, await barOf(page), ground);
  } finally {
    shown.view.background("transparent");
    if (dark) await page.show();
    else await shown.view.runAsync();
  }
}

/** The colour bar of the shown picture, where it has one. @param {Page} page */
async function barOf(page) {
  const ink = page.report.inks.light;
  const { view } = page.state;
  if (view === "heatmap") return { view: (await page.colourbar)?.view, words: said("scale-words"), ink };
  if (view !== "overlay" || element("overlay-scale").hidden) return null;
  const { colourbar } = /** @type {import("./overlay.js").Overlay} */ (page.views.get(view));
  return { view: colourbar.view, words: said("overlay-scale-words"), ink };
}

/** @param {string} id */
function said(id) {
  return element(id).textContent ?? "";
}

/** @param {any} view of Vega @param {Bar | null} bar @param {string} ground @returns {Promise<string>} */
export async function svgOf(view, bar, ground) {
  const picture = await view.toSVG();
  if (!bar) return picture;
  const below = await bar.view.toSVG();
  const { width, height, x, y, left, line } = stacked(view, bar, sizeOf(picture), sizeOf(below));
  const whole = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  if (ground !== "transparent") whole.append(shape("rect", { width, height, fill: ground }));
  const words = shape("text", { x: left, y: line, fill: bar.ink, ...FONT });
  words.textContent = bar.words;
  whole.append(words);
  // What Vega wrote goes in as it is: the page's policy lets no script read text as a document.
  const inside = picture + below.replace("<svg ", `<svg x="${x}" y="${y}" `);
  return svgText(whole).replace(/<\/svg>$/, `${inside}</svg>`);
}

/** @param {any} view of Vega @param {Bar | null} bar @param {string} ground
 * @returns {Promise<HTMLCanvasElement>} */
export async function canvasOf(view, bar, ground) {
  const picture = await view.toCanvas(PIXELS);
  if (!bar) return picture;
  const below = await bar.view.toCanvas(PIXELS);
  const sizes = [picture, below].map((each) => ({ width: each.width / PIXELS, height: each.height / PIXELS }));
  const { width, height, x, y, left, line } = stacked(view, bar, sizes[0], sizes[1]);
  const { canvas, context } = drawing(width * PIXELS, height * PIXELS);
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0);
  context.drawImage(below, x * PIXELS, y * PIXELS);
  context.scale(PIXELS, PIXELS);
  [context.font, context.fillStyle] = [CANVAS_FONT, bar.ink];
  context.fillText(bar.words, left, line);
  return canvas;
}

/** Where everything is: the bar begins where the picture's cells do.
 * @param {any} view @param {Bar} bar @param {Size} picture @param {Size} below */
function stacked(view, bar, picture, below) {
  const inset = bar.view.origin()[0];
  const left = Math.max(view.origin()[0], inset);
  const { context } = drawing(1, 1);
  context.font = CANVAS_FONT;
  const longest = Math.max(below.width - inset, Math.ceil(context.measureText(bar.words).width));
  const y = picture.height + BAR_GAP + LINE;
  return {
    width: Math.max(picture.width, left + longest),
    height: y + below.height,
    x: left - inset,
    y,
    left,
    line: y - LINE / 3,
  };
}

/** @param {string} svg that Vega wrote @returns {Size} */
function sizeOf(svg) {
  const [, width, height] = /\bwidth="([\d.]+)" height="([\d.]+)"/.exec(svg) ?? ["", "0", "0"];
  return { width: Number(width), height: Number(height) };
}

/** @param {number} width @param {number} height */
function drawing(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(width), Math.round(height)];
  return { canvas, context: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")) };
}
