// @ts-check
// The words beside the heatmap: the chosen cell, and where its query looks most.
import { rankIn, strongest, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";

/** @typedef {import("./weights.js").Matrix} Matrix */

const BARS = 10;

/**
 * @param {Matrix} matrix @param {string[]} queries @param {string[]} keys
 * @param {number} query @param {number} key @param {(weight: number) => number} error
 */
export function showCell(matrix, queries, keys, query, key, error) {
  const row = rowOf(matrix, query);
  const weight = row[key];
  filled(element("readout-line"), [
    made("q", queries[query]),
    ` (query ${query}) looks at `,
    made("q", keys[key]),
    ` (key ${key}) with weight `,
    made("b", weightText(weight, error(weight))),
    Number.isNaN(weight) ? "." : `, ${ordinal(rankIn(row, key))} of ${row.length} keys.`,
  ]);
  filled(element("readout-title"), ["Where ", made("q", queries[query]), " looks most"]);
  showTop(row, keys, error);
}

/**
 * With no cell chosen: the keys that are looked at most, all queries together. The error of a mean
 * is at most the error at the mean, because the error grows as √w and √ is concave.
 * @param {Matrix} matrix @param {string[]} keys @param {(weight: number) => number} error
 */
export function showMean(matrix, keys, error) {
  const { rows, columns, values } = matrix;
  const mean = new Float32Array(columns);
  values.forEach((weight, index) => {
    mean[index % columns] += weight / rows;
  });
  filled(element("readout-line"), [
    "Point at a cell to read it and click to keep it, or press Tab until the heatmap has a frame " +
      "and use the arrow keys.",
  ]);
  filled(element("readout-title"), ["Looked at most, mean over all queries"]);
  showTop(mean, keys, error);
}

/** @param {Float32Array} row @param {string[]} keys @param {(weight: number) => number} error */
function showTop(row, keys, error) {
  const top = strongest(row, BARS);
  filled(
    element("readout-top"),
    top.map((key) => bar(keys[key], row[key], error)),
  );
  const shown = top.reduce((total, key) => total + row[key], 0);
  const all = row.reduce((total, weight) => total + weight, 0);
  const about = error(1) > 0 ? "about " : "";
  element("readout-rest").textContent =
    row.length > top.length
      ? `The other ${row.length - top.length} keys share ${about}${weightText(Math.max(0, all - shown), 0)}.`
      : "";
}

/** @param {string} label @param {number} weight @param {(weight: number) => number} error */
function bar(label, weight, error) {
  const length = document.createElement("span");
  length.className = "bar";
  length.style.width = `${Number.isFinite(weight) ? weight * 100 : 0}%`;
  const item = document.createElement("li");
  item.append(length, made("span", label, "token"), made("span", weightText(weight, error(weight)), "weight"));
  return item;
}

/** @param {Matrix} matrix @param {number} query */
export function rowOf({ values, columns }, query) {
  return values.subarray(query * columns, (query + 1) * columns);
}

/** @param {number} rank */
function ordinal(rank) {
  const ending = { 1: "st", 2: "nd", 3: "rd" }[rank % 10];
  return rank === 1 ? "the most" : `${rank}${ending && ![11, 12, 13].includes(rank % 100) ? ending : "th"}`;
}
