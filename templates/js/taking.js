// @ts-check
// Taking things out: the shown picture, its weights, its Vega-Lite spec, and the link to it. A page
// in a frame may save nothing, so there everything is shown to be copied.
import { base64OfBytes } from "./bytes.js";
import { element, filled, made } from "./dom.js";
import { numbersOf } from "./numbers.js";
import { canvasOf, onPaper, svgOf } from "./paper.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {{name: string, type: string, blob: Blob, text: string | null}} Taken */

const TOO_LARGE = "The picture is too large for a PNG in this browser: take the SVG.";

/** @param {Page} page */
export function listenToTaking(page) {
  onTake("take-svg", page, takeSvg);
  onTake("take-png", page, takePng);
  onTake("take-csv", page, takeCsv);
  onTake("take-spec", page, takeSpec);
  element("take-link").addEventListener("click", () => takeLink(page));
  element("taken-close").addEventListener("click", () => dialog().close());
  element("taken-copy").addEventListener("click", () => {
    /** @type {HTMLTextAreaElement} */ (element("taken-text")).select();
    // A frame is refused the newer way, navigator.clipboard, and says so on its console.
    const done = document.execCommand("copy");
    element("taken-words").textContent = done ? "Copied." : "Selected: copy it with Ctrl+C or ⌘C.";
  });
}

/** @param {string} id @param {Page} page @param {(page: Page) => Promise<Taken | null>} take */
function onTake(id, page, take) {
  element(id).addEventListener("click", async () => {
    const it = await take(page);
    if (it) await hand(it, page);
    else element("taking-words").textContent = TOO_LARGE;
  });
}

/** @param {Page} page @returns {Promise<Taken>} */
async function takeSvg(page) {
  const text = await onPaper(page, svgOf);
  return taken(page, "svg", "image/svg+xml", text);
}

/** A canvas is only written here: its pixels become the file, no number is read from them.
 * Not by toBlob, which Chromium puts off until the page is idle, on a busy machine for seconds.
 * @param {Page} page @returns {Promise<Taken | null>} null where the browser has no canvas so large */
async function takePng(page) {
  const type = "image/png";
  const address = await onPaper(page, async (...paper) => (await canvasOf(...paper)).toDataURL(type)).catch(nothing);
  const digits = address.replace(/^[^,]*,/, "");
  if (digits === "") return null;
  const blob = new Blob([Uint8Array.from(atob(digits), (byte) => byte.charCodeAt(0))], { type });
  return { name: nameOf(page, "png"), type, blob, text: null };
}

/** What toDataURL gives of too large a canvas, where a browser refuses to draw on it.
 * @param {Error} refusal @returns {string} */
function nothing(refusal) {
  if (!(refusal instanceof DOMException)) throw refusal;
  return "data:,";
}

/** @param {Page} page @returns {Promise<Taken>} */
async function takeCsv(page) {
  const scene = /** @type {Scene} */ (page.scene);
  const table = page.views.get(page.state.view)?.table?.();
  const text = page.state.view === "text" ? shadesOf(page, scene) : table ? csvOfTable(table) : csvOf(scene);
  return taken(page, "csv", "text/csv", text);
}

/** @param {Page} page @returns {Promise<Taken>} */
async function takeSpec(page) {
  const lite = page.report.lite[page.state.view];
  const spec = await onPaper(page, async (view, _, ground) => specOf(lite, view, ground));
  return taken(page, "vl.json", "application/json", JSON.stringify(spec, null, 1));
}

/** The spec that Altair made, with what the page shows put in: its data, parameters and size.
 * @param {any} lite Vega-Lite @param {any} view of Vega @param {string} background */
export function specOf(lite, view, background) {
  const names = lite.layer.map((/** @type {any} */ layer) => layer.data.name);
  return {
    ...lite,
    background,
    width: view.width(),
    height: view.height(),
    params: lite.params.map((/** @type {any} */ one) => ({ ...one, value: view.signal(one.name) })),
    datasets: Object.fromEntries(names.map((/** @type {string} */ name) => [name, view.data(name)])),
  };
}

/** The shown weights as RFC 4180 has it: a header of keys, then a line for each query.
 * @param {{matrix: import("./weights.js").Matrix, queries: {labels: string[]}, keys: {labels: string[]}}} scene */
export function csvOf({ matrix, queries, keys }) {
  const lines = [["", ...keys.labels.map(labelCell)]];
  queries.labels.forEach((label, row) => {
    const weights = matrix.values.subarray(row * matrix.columns, (row + 1) * matrix.columns);
    lines.push([labelCell(label), ...Array.from(weights, numberText)]);
  });
  return lines.map((cells) => `${cells.join(",")}\r\n`).join("");
}

/** The shaded text: place, token and number of each, and in the header what the number is.
 * @param {Page} page @param {Scene} scene */
function shadesOf(page, scene) {
  const view = /** @type {import("./text.js").Text} */ (page.views.get("text"));
  const chosen = view.kept();
  const { labels } = chosen.look === "to" ? scene.axes.keys : scene.axes.queries;
  const lines = [["position", "token", labelCell(view.words(chosen))]];
  labels.forEach((label, place) => lines.push([String(place), labelCell(label), numberText(view.values[place])]));
  return lines.map((cells) => `${cells.join(",")}\r\n`).join("");
}

/** A view's own table as RFC 4180 has it; where there is no number the cell is empty.
 * @param {{columns: string[], rows: {label: string, values: (number | null)[]}[]}} table */
export function csvOfTable({ columns, rows }) {
  const lines = rows.map(({ label, values }) => [
    labelCell(label),
    ...values.map((value) => (value === null ? "" : numberText(value))),
  ]);
  return [["", ...columns], ...lines].map((cells) => `${cells.join(",")}\r\n`).join("");
}

/** A spreadsheet takes a cell that begins with = + - or @ for a formula and would run it: a label
 * that does gets a ' before it. @param {string} label */
function labelCell(label) {
  const harmless = /^[=+\-@\t\r]/.test(label) ? `'${label}` : label;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/** The fewest digits that tell a float32 from every other. @param {number} weight */
function numberText(weight) {
  if (!Number.isFinite(weight)) return Number.isNaN(weight) ? "nan" : "inf";
  const digits = [6, 7, 8].find((count) => Math.fround(Number(weight.toPrecision(count))) === weight);
  return String(Number(weight.toPrecision(digits ?? 9)));
}

/** @param {Page} page @param {string} ending @param {string} type @param {string} text */
function taken(page, ending, type, text) {
  return { name: nameOf(page, ending), type, blob: new Blob([text], { type }), text };
}

/** @param {Page} page @param {string} ending */
function nameOf({ report, state, scene }, ending) {
  const map = scene?.map;
  if (map) return fileName(`${map.name}-${map.variants[state.heads[0]]}.${ending}`);
  const { layer, heads } = numbersOf(report, state);
  const which = heads.length > 4 ? `${heads.length}-heads` : `head-${heads.join("-")}`;
  return `attention-layer-${layer}-${which}.${ending}`;
}

/** A name that every file system takes. @param {string} name */
function fileName(name) {
  return name.replaceAll(/[^\w.-]+/g, "-");
}

/** Save what was taken, or show it where a page may not save. @param {Taken} it @param {Page} page */
async function hand(it, page) {
  if (window.parent !== window) {
    await showTaken(it);
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(it.blob);
  link.download = it.name;
  link.click();
  // The browser reads the address after the click has returned.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  const rounded = page.scene?.rounded ? " Its weights are rounded as said below." : "";
  element("taking-words").textContent = `${it.name} is being saved.${rounded}`;
}

/** @param {Page} page */
async function takeLink(page) {
  const { href } = window.location;
  const hash = page.hash();
  if (window.parent === window) {
    const link = href.replace(/#.*$/, "") + hash;
    if (await copied(link)) {
      element("taking-words").textContent = "The link is copied.";
      return;
    }
    open("Link to what is shown", "Copy it with Ctrl+C or ⌘C.", link);
    return;
  }
  open("Link to what is shown", "Put this behind the address of this report.", hash);
}

/** @param {string} text @returns {Promise<boolean>} */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // a page without a secure address, or in a frame, may not
  }
}

/** @param {Taken} it */
async function showTaken({ name, type, blob, text }) {
  if (text !== null) {
    open(name, "This page stands in a frame, where nothing can be saved: copy it from here.", text);
    return;
  }
  const image = /** @type {HTMLImageElement} */ (made("img", ""));
  image.alt = name;
  image.src = await dataUrl(blob, type);
  open(name, "This page stands in a frame: save the picture from its own menu.", "", image);
}

/** @param {Blob} blob @param {string} type */
async function dataUrl(blob, type) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return `data:${type};base64,${base64OfBytes(bytes)}`;
}

/** @param {string} title @param {string} words @param {string} text @param {HTMLElement} [picture] */
function open(title, words, text, picture) {
  element("taken-title").textContent = title;
  element("taken-words").textContent = words;
  const area = /** @type {HTMLTextAreaElement} */ (element("taken-text"));
  area.value = text;
  for (const part of [area, element("taken-copy")]) part.hidden = Boolean(picture);
  filled(element("taken-picture"), picture ? [picture] : []);
  dialog().showModal();
  if (!picture) area.select();
}

function dialog() {
  return /** @type {HTMLDialogElement} */ (element("taken"));
}
