// @ts-check
// The report's data: what the JSON scripts hold, read when it is first needed.
import { base64OfBytes, bytesOfBase64, inflate } from "./bytes.js";
import { errorOfWeight, weightOfCode } from "./codes.js";
import { codesOf, indexedPng } from "./png.js";

/** @typedef {{name: string, labels: string[], roles: string}} Axis */
/** @typedef {{name: string, kind: string, queries: number, keys: number, heads: number,
 *   nonfinite: number}} Layer */
/** @typedef {{axes: Axis[], layers: Layer[], groups: {title: string, layers: number[]}[],
 *   exact: boolean, levels: number, palettes: Record<string, string>, inks: Record<string, string>,
 *   shown: {layer: number, head: number}, heatmap: object}} ReportDocument */
/** @typedef {{heads: string[], exact: string | null}} PackedLayer */
/** @typedef {{rows: number, columns: number, values: Float32Array}} Matrix */

/** @param {string} id @returns {any} */
export function readJson(id) {
  return JSON.parse(/** @type {HTMLElement} */ (document.getElementById(id)).textContent ?? "");
}

/** Read a run's heads. */
export class Weights {
  /** @param {ReportDocument} report */
  constructor(report) {
    this.report = report;
    /** @type {Map<number, PackedLayer>} */
    this.packed = new Map();
    /** @type {Map<number, Float32Array>} */
    this.exact = new Map();
  }

  /** @param {number} layer @returns {PackedLayer} */
  layer(layer) {
    const packed = this.packed.get(layer) ?? readJson(`layer-${layer}`);
    this.packed.set(layer, packed);
    return packed;
  }

  /** @param {number} layer */
  shape(layer) {
    const { queries, keys } = this.report.layers[layer];
    const [rows, columns] = [queries, keys].map((axis) => this.report.axes[axis].labels.length);
    return { rows, columns };
  }

  /** @param {number} layer @param {number} head */
  imageData(layer, head) {
    return bytesOfBase64(this.layer(layer).heads[head]);
  }

  /** @param {number} layer @param {number} head @returns {Promise<Matrix>} */
  async matrix(layer, head) {
    const { rows, columns } = this.shape(layer);
    if (this.report.exact) {
      const values = await this.exactLayer(layer);
      const size = rows * columns;
      return { rows, columns, values: values.subarray(head * size, (head + 1) * size) };
    }
    const codes = await codesOf(this.imageData(layer, head), rows, columns);
    const levels = this.report.levels;
    return { rows, columns, values: Float32Array.from(codes, (code) => weightOfCode(code, levels)) };
  }

  /** How far the true weight can be from one that `matrix` gave. @param {number} weight */
  error(weight) {
    return this.report.exact ? 0 : errorOfWeight(weight, this.report.levels);
  }

  /** The picture of a head. @param {number} layer @param {number} head @param {string} theme */
  url(layer, head, theme) {
    const { rows, columns } = this.shape(layer);
    const png = indexedPng(this.imageData(layer, head), rows, columns, this.palette(theme));
    return `data:image/png;base64,${base64OfBytes(png)}`;
  }

  /** @param {string} theme @returns {Uint8Array} 3 bytes a colour */
  palette(theme) {
    const pairs = this.report.palettes[theme].match(/../g) ?? [];
    return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
  }

  /** @param {number} layer */
  async exactLayer(layer) {
    const kept = this.exact.get(layer);
    if (kept) return kept;
    const bytes = await inflate(bytesOfBase64(this.layer(layer).exact ?? ""));
    const view = new DataView(bytes.buffer);
    const values = Float32Array.from({ length: bytes.length / 4 }, (_, index) =>
      view.getFloat32(index * 4, true),
    );
    this.exact.set(layer, values);
    return values;
  }
}
