// @ts-check
// The report's data: what the JSON scripts hold, read when it is first needed.
import { bytesOfText, inflate } from "./bytes.js";
import { errorOfWeight, valuesOfCodes, weightOfCode } from "./codes.js";
import { refined } from "./largest.js";
import { errorOfValue, layerAt, mapAt, valuesOf } from "./maps.js";
import { codesOf } from "./png.js";

/** @typedef {{name: string, labels: string[], roles: string, text: string | null,
 *   spans: ([number, number] | null)[] | null}} Axis */
/** @typedef {{name: string, kind: string, queries: number, keys: number, heads: number,
 *   number: number, numbers: number[], nonfinite: number}} Layer `number` and `numbers` are what the layer
 *   and its heads are called; in what they are asked for here they are counted by their place */
/** @typedef {{axes: Axis[], layers: Layer[], maps: import("./maps.js").JoinedMap[],
 *   groups: {title: string, short: string, layers: number[]}[],
 *   pictures: {url: string | null, width: number, height: number,
 *     scales?: import("./panels.js").Scale[], parts?: import("./parts.js").Part[]}[], seen: string[],
 *   places: (import("./parts.js").Written | null)[],
 *   overlayPalette: string,
 *   measures: import("./scores.js").Measure[], thumbnails: {side: number, data: string},
 *   exact: boolean, levels: number, refined: boolean, joined: number, palettes: Record<string, string>,
 *   signedPalettes: Record<string, string> | null, inks: Record<string, string>,
 *   lite: Record<string, object>,
 *   shown: {layer: number, head: number, query: number | null}, charts: Record<string, object>,
 *   headColours: Record<string, string[]>}} ReportDocument */
/** @typedef {{heads: string[], exact: string | null, largest: string[] | null}} PackedLayer */
/** @typedef {{rows: number, columns: number, values: Float32Array, sure?: Uint8Array,
 *   errors?: Float32Array}} Matrix `sure` is 1 where a value is right though the others are codes;
 *   `errors` says how far each can be from the true one, where it was made of several */

/** @param {string} id @returns {any} */
export function readJson(id) {
  return JSON.parse(document.getElementById(id)?.textContent ?? "null");
}

/** Wait until the browser has read the whole document: what it is reading has half its text. */
export async function documentRead() {
  if (document.readyState !== "loading") return;
  await new Promise((resolve) => {
    document.addEventListener("DOMContentLoaded", resolve, { once: true });
  });
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

  /** @param {number} layer */
  shape(layer) {
    const { queries, keys } = layerAt(this.report, layer);
    const [rows, columns] = [queries, keys].map((axis) => this.report.axes[axis].labels.length);
    return { rows, columns };
  }

  /**
   * Several heads as one: the mean, or the largest, of their weights cell by cell.
   * @param {Matrix[]} all @param {"mean" | "max"} combine @returns {Matrix}
   */
  combined(all, combine) {
    if (all.length === 1) return all[0];
    const values = new Float32Array(all[0].values.length);
    const joined = combine === "max" ? Math.max : (/** @type {number} */ a, /** @type {number} */ b) => a + b;
    for (const matrix of all) {
      for (let index = 0; index < values.length; index += 1) {
        values[index] = joined(values[index], matrix.values[index]);
      }
    }
    if (combine === "mean") values.forEach((sum, index) => (values[index] = sum / all.length));
    const sure = values.map((_, index) => (all.every((matrix) => matrix.sure?.[index]) ? 1 : 0));
    return { ...all[0], values, sure: Uint8Array.from(sure) };
  }

  /** @param {number} layer @param {number} head @returns {Promise<Matrix>} */
  async matrix(layer, head) {
    const { rows, columns } = this.shape(layer);
    const map = mapAt(this.report, layer);
    if (map?.means) return this.mean(map.means[head]);
    if (map ? map.exact : this.report.exact) {
      const values = await this.exactLayer(layer);
      const size = rows * columns;
      return { rows, columns, values: values.subarray(head * size, (head + 1) * size) };
    }
    const { heads, largest } = await this.layer(layer);
    const data = heads[head];
    if (map) return { rows, columns, values: await valuesOf(map, data, rows, columns) };
    const codes = await codesOf(bytesOfText(data), rows, columns);
    const levels = this.report.levels;
    if (largest) return refined(codes, rows, columns, levels, bytesOfText(largest[head]));
    return { rows, columns, values: valuesOfCodes(codes, (code) => weightOfCode(code, levels)) };
  }

  /** All heads of a layer as one. @param {number} layer @returns {Promise<Matrix>} */
  async mean(layer) {
    const heads = Array.from({ length: this.report.layers[layer].heads }, (_, head) => head);
    return this.combined(await Promise.all(heads.map((head) => this.matrix(layer, head))), "mean");
  }

  /** How far the true weight can be from one that `matrix` gave of a layer.
   * @param {number} layer @returns {(weight: number) => number} */
  errorsOf(layer) {
    const map = mapAt(this.report, layer);
    const { exact, levels } = this.report;
    if (map && !map.means) return (weight) => errorOfValue(map, weight);
    return exact ? () => 0 : (weight) => errorOfWeight(weight, levels);
  }

  /** Every layer but the shown one stands behind the scripts, where it may not have come yet.
   * @param {number} layer @returns {Promise<PackedLayer>} */
  async layer(layer) {
    if (layer !== this.report.shown.layer) await documentRead();
    const packed = this.packed.get(layer) ?? readJson(`layer-${layer}`);
    if (!packed) throw new Error(`layer ${layer} is not in this file, which was cut off`);
    this.packed.set(layer, packed);
    return packed;
  }

  /** @param {number} layer */
  async exactLayer(layer) {
    const kept = this.exact.get(layer);
    if (kept) return kept;
    const { exact } = await this.layer(layer);
    const bytes = await inflate(bytesOfText(exact ?? ""));
    const view = new DataView(bytes.buffer);
    const values = new Float32Array(bytes.length / 4);
    for (let index = 0; index < values.length; index += 1) values[index] = view.getFloat32(index * 4, true);
    this.exact.set(layer, values);
    return values;
  }
}
