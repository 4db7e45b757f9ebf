// @ts-check
// The text view as a picture: where the browser laid its tokens, written down as SVG. Has the methods
// of a Vega view that whoever takes pictures out asks for.
import { shape, svgText, svgUrl } from "./svg.js";

/** @typedef {{text: string, fill: string}} Run what one element shows of a line */
/** @typedef {{runs: Run[], box: DOMRect, node: HTMLElement}} Segment one stretch of a line */

/** A text that can be taken out. */
export class TextPicture {
  /** @param {HTMLElement} element @param {() => string} ink of what is not shaded */
  constructor(element, ink) {
    this.element = element;
    this.ink = ink;
    this.ground = "transparent";
  }

  /** @param {string} colour */
  background(colour) {
    this.ground = colour;
  }

  /** Nothing is to be drawn anew: the browser has laid the text already. */
  async runAsync() {}

  async toSVG() {
    return svgText(this.drawn());
  }

  /** @param {number} scale pixels for one @returns {Promise<HTMLCanvasElement>} */
  async toCanvas(scale) {
    const { width, height } = this.element.getBoundingClientRect();
    const image = new Image();
    image.src = svgUrl(this.drawn());
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  drawn() {
    const { x, y, width, height } = this.element.getBoundingClientRect();
    const picture = shape("svg", { width, height, viewBox: `${x} ${y} ${width} ${height}` });
    if (this.ground !== "transparent") picture.append(shape("rect", { x, y, width, height, fill: this.ground }));
    const tokens = /** @type {NodeListOf<HTMLElement>} */ (this.element.querySelectorAll(".token"));
    for (const token of tokens) picture.append(...this.shades(token));
    for (const block of this.element.children) {
      for (const segment of this.segments(/** @type {HTMLElement} */ (block))) picture.append(written(segment));
    }
    return picture;
  }

  /** What lies behind a token, once for each line that it stands in. @param {HTMLElement} token */
  shades(token) {
    const framed = token.classList.contains("chosen") || token.classList.contains("added");
    const frame = framed ? { stroke: this.ink(), "stroke-width": token.classList.contains("chosen") ? 2 : 0.5 } : {};
    return [...token.getClientRects()].map(({ x, y, width, height }) =>
      shape("rect", { x, y, width, height, rx: 2, fill: token.style.backgroundColor || "none", ...frame }),
    );
  }

  /** A block's text in stretches that stand in one line and in one kind of letters.
   * @param {HTMLElement} block @returns {Segment[]} */
  segments(block) {
    /** @type {Segment[]} */
    const found = [];
    const nodes = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    while (nodes.nextNode()) {
      const node = /** @type {Text} */ (nodes.currentNode);
      const parent = /** @type {HTMLElement} */ (node.parentElement);
      const own = parent.classList.contains("added") ? parent : block;
      const fill = parent.style.color || this.ink();
      for (const { text, box } of charactersOf(node)) {
        const last = found[found.length - 1];
        if (last?.node === own && goesOn(last.box, box)) extend(last, text, fill, box);
        else found.push({ runs: [{ text, fill }], box, node: own });
      }
    }
    return found.filter(({ runs }) => runs.some(({ text }) => text.trim()));
  }
}

/** Every character of a node, and where it stands. @param {Text} node */
function charactersOf(node) {
  const range = document.createRange();
  let at = 0;
  return Array.from(node.data).flatMap((text) => {
    range.setStart(node, at);
    at += text.length;
    range.setEnd(node, at);
    const boxes = [...range.getClientRects()];
    // A mark that joins the letter before it has no place of its own; a line's end has none at all.
    return boxes.length ? [{ text, box: boxes[boxes.length - 1] }] : [];
  });
}

/** Tells whether a character goes on where a stretch ends, at either side: what comes next in a text may
 * stand elsewhere in its line, where a text runs the other way. @param {DOMRect} stretch @param {DOMRect} box */
function goesOn(stretch, box) {
  const level = Math.abs(stretch.y + stretch.height / 2 - box.y - box.height / 2) < stretch.height / 2;
  return level && Math.max(stretch.left, box.left) - Math.min(stretch.right, box.right) <= 1;
}

/** @param {Segment} segment @param {string} text @param {string} fill @param {DOMRect} box */
function extend(segment, text, fill, box) {
  const last = segment.runs[segment.runs.length - 1];
  if (last.fill === fill) last.text += text;
  else segment.runs.push({ text, fill });
  const [left, top] = [Math.min(segment.box.left, box.left), Math.min(segment.box.top, box.top)];
  const [right, bottom] = [Math.max(segment.box.right, box.right), Math.max(segment.box.bottom, box.bottom)];
  segment.box = new DOMRect(left, top, right - left, bottom - top);
}

/** A stretch as SVG text, as wide as it stood in the page whatever letters it is read with: the
 * letters of a text from right to left stay joined, for they stay one text.
 * @param {Segment} segment */
function written({ runs, box, node }) {
  const { direction, fontFamily, fontSize, fontWeight } = getComputedStyle(node);
  const text = shape("text", {
    x: direction === "rtl" ? box.right : box.left,
    y: box.top + box.height * ascent(`${fontWeight} ${fontSize} ${fontFamily}`),
    direction,
    textLength: box.width,
    "font-family": fontFamily,
    "font-size": fontSize,
    "font-weight": fontWeight,
    "xml:space": "preserve",
  });
  for (const run of runs) {
    const part = shape("tspan", { fill: run.fill });
    part.textContent = run.text;
    text.append(part);
  }
  return text;
}

/** How much of a line of letters lies above their base. @param {string} font */
function ascent(font) {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) return 0.8;
  context.font = font;
  const { fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = context.measureText("x");
  return above / (above + below);
}
