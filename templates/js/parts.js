// @ts-check
// The parts of a picture that is shown to a model in several: frames beside each other, or tiles and
// the whole, which lie over each other. One of them is looked at by itself, or all together.
import { filled, made } from "./dom.js";
import { shape, svgUrl } from "./svg.js";

/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {{name: string, box: Box}} Part */
/** @typedef {{width: number, height: number, parts?: Part[]}} Picture */
/** @typedef {{url: string, width: number, height: number, scales?: import("./panels.js").Scale[]}} Shown */
/** @typedef {{picture: number, boxes: (Box | null)[], parts?: number[], first?: number}} Written what
 *   the document says of an axis: of which part each position is, -1 for none, and which part is shown
 *   first, -1 for all */
/** @typedef {{picture: number, boxes: (Box | null)[], all: (Box | null)[]}} Places where positions
 *   lie in what is shown, and in the whole picture */

export const ALL = -1;

/** The parts that an axis has positions in, in order. @param {Written} written @returns {number[]} */
export function partsHeld({ parts = [] }) {
  return [...new Set(parts)].filter((part) => part >= 0).sort((a, b) => a - b);
}

/** Which part is shown: the chosen one if the axis has it, or else the first.
 * @param {Written} written @param {number | null} wanted @returns {number} */
export function chosenPart(written, wanted) {
  if (wanted === ALL || (wanted !== null && partsHeld(written).includes(wanted))) return wanted;
  return written.first ?? ALL;
}

/** Where a part lies in its picture. @param {Picture} picture @param {number} part @returns {Box} */
function regionOf({ width, height, parts }, part) {
  return part === ALL || !parts ? [0, 0, width, height] : parts[part].box;
}

/** The places of one part, counted from its upper left corner.
 * @param {Written} written @param {number} part @param {Picture} whole @returns {Places} */
export function placesIn({ picture, boxes, parts }, part, whole) {
  const [left, top] = regionOf(whole, part);
  const own = boxes.map((box, index) =>
    box && (part === ALL || parts?.[index] === part) ? fromCorner(box, left, top) : null,
  );
  return { picture, boxes: own, all: boxes };
}

/** @param {Box} box @param {number} left @param {number} top @returns {Box} */
function fromCorner([x0, y0, x1, y1], left, top) {
  return [x0 - left, y0 - top, x1 - left, y1 - top];
}

/** The sum of values in each part. @param {Float32Array} values @param {Written} written
 * @returns {Map<number, number>} */
export function sumsOf(values, { parts = [] }) {
  const sums = new Map();
  parts.forEach((part, index) => {
    if (part >= 0 && Number.isFinite(values[index])) sums.set(part, (sums.get(part) ?? 0) + values[index]);
  });
  return sums;
}

/** A picture, or the part of it: then an SVG that shows no more of it.
 * @param {Shown & Picture} picture @param {number} part @returns {Shown} */
export function shownOf(picture, part) {
  const [x0, y0, x1, y1] = regionOf(picture, part);
  const { url, width, height } = picture;
  const size = { width: x1 - x0, height: y1 - y0 };
  if (size.width === width && size.height === height) return picture;
  const svg = shape("svg", { ...size, viewBox: [x0, y0, size.width, size.height].join(" ") });
  svg.append(shape("image", { href: url, width, height, preserveAspectRatio: "none" }));
  return { ...size, url: svgUrl(svg) };
}

/** The part before or after the shown one; all together come before the first.
 * @param {number[]} parts @param {number} part @param {number} by 1 or -1 */
export function beside(parts, part, by) {
  const choices = [ALL, ...parts];
  return choices[(choices.indexOf(part) + by + choices.length) % choices.length];
}

/** Show a button for each part, and one for all. Those that are there stay, so that none loses focus.
 * @param {HTMLElement} host @param {number[]} own the parts that the axis has
 * @param {number} shown @param {(part: number) => string} words on it */
export function showParts(host, own, shown, words) {
  const choices = own.length > 1 ? [ALL, ...own] : [];
  if (host.children.length !== choices.length) {
    filled(host, choices.map(() => made("button", "", "small")));
  }
  choices.forEach((part, nth) => {
    const button = /** @type {HTMLButtonElement} */ (host.children[nth]);
    button.type = "button";
    button.textContent = words(part);
    button.dataset.part = String(part);
    button.setAttribute("aria-pressed", String(part === shown));
  });
}
