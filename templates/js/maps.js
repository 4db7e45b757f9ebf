// @ts-check
// Joined maps: what is drawn like a head and is none. They follow the run's layers in the list of
// what can be drawn; their variants stand where a layer has heads.
import { bytesOfText } from "./bytes.js";
import { errorOfWeight, valuesOfCodes, weightOfCode } from "./codes.js";
import { element } from "./dom.js";
import { codesOf } from "./png.js";

/** @typedef {import("./weights.js").ReportDocument} ReportDocument */
/** @typedef {import("./weights.js").Layer} Layer */
/** @typedef {{name: string, title: string, pair: string, kind: string, queries: number,
 *   keys: number, heads: number, choice: string, variants: string[], exact: boolean,
 *   levels: number, top: number, signed: boolean, means: number[] | null}} JoinedMap
 *   `means` are the layers whose heads the page itself averages, a variant for each */

/** The joined map at a place of the list; null for a layer of the run.
 * @param {ReportDocument} report @param {number} layer @returns {JoinedMap | null} */
export function mapAt({ layers, maps }, layer) {
  return maps[layer - layers.length] ?? null;
}

/** What is at a place of the list. @param {ReportDocument} report @param {number} layer
 * @returns {Layer | JoinedMap} */
export function layerAt(report, layer) {
  return mapAt(report, layer) ?? report.layers[layer];
}

/** A map's values. Its codes are those of `coded` in attnreport/page/maps.py.
 * @param {JoinedMap} map @param {string} data @param {number} rows @param {number} columns
 * @returns {Promise<Float32Array>} */
export async function valuesOf(map, data, rows, columns) {
  const codes = await codesOf(bytesOfText(data), rows, columns);
  return valuesOfCodes(codes, (code) => valueOfCode(map, code));
}

/** @param {JoinedMap} map @param {number} code */
export function valueOfCode({ levels, top, signed }, code) {
  if (!signed) return top * weightOfCode(code, levels);
  if (code >= levels) return NaN;
  const middle = (levels - 1) / 2;
  return Math.sign(code - middle) * top * weightOfCode(Math.abs(code - middle), middle + 1);
}

/** How far a map's value can be from the true one. @param {JoinedMap} map @param {number} value */
export function errorOfValue({ exact, levels, top, signed }, value) {
  if (exact) return 0;
  return top * errorOfWeight(Math.abs(value) / top, signed ? (levels + 1) / 2 : levels);
}

/** What can be chosen of a map, in words. @param {JoinedMap | null} map */
export function variantsOf(map) {
  return map?.variants.map((variant) => `${map.choice}: ${variant}`);
}

/** @param {JoinedMap} map @param {number} variant */
export function titleOfMap(map, variant) {
  return `${map.title} (${variantsOf(map)?.[variant]})`;
}

/** Show what is said of the shown map, and what is said of heads only where a head is shown.
 * @param {import("./scene.js").Scene} scene */
export function showMapWords({ map, state }) {
  element("leads").hidden = Boolean(map);
  element("head-select").setAttribute("aria-label", map ? map.choice : "Head");
  for (const node of document.querySelectorAll("[data-map]")) {
    const words = /** @type {HTMLElement} */ (node);
    words.hidden = Number(words.dataset.map) !== state.layer;
  }
}
