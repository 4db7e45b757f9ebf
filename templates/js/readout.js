// @ts-check
// The words beside a view: the chosen cell, and where its query looks most.
import { rankIn, strongest, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./weights.js").Matrix} Matrix */

const BARS = 10;

/** Say which cell is chosen. Its rank and its query's other keys count hidden keys too.
 * @param {Scene} scene @param {number} query @param {number} key */
export function showCell(scene, query, key) {
  const { queryLabels, keyLabels } = wholeLabels(scene);
  const row = rowOf(scene.base, query);
  const weight = row[key];
  filled(element("readout-line"), [
    made("q", queryLabels[query]),
    ` (query ${query}) ${scene.map ? "and" : "looks at"} `,
    made("q", keyLabels[key]),
    ` (key ${key}) ${scene.map ? `have, by ${lowered(scene.map.title)},` : "with weight"} `,
    made("b", weightText(weight, errorIn(scene, query * scene.base.columns + key))),
    Number.isNaN(weight) ? "." : `, ${ordinal(rankIn(row, key))} of ${row.length} keys.`,
  ]);
  filled(element("readout-title"), ["Where ", made("q", queryLabels[query]), " looks most"]);
  showTop(row, keyLabels, (at) => errorIn(scene, query * scene.base.columns + at), scene);
}

/** Say where one query looks. @param {Scene} scene @param {number} query */
export function showQuery(scene, query) {
  const { queryLabels, keyLabels } = wholeLabels(scene);
  filled(element("readout-line"), [made("q", queryLabels[query]), ` is query ${query}.`]);
  filled(element("readout-title"), ["Where ", made("q", queryLabels[query]), " looks most"]);
  const error = (/** @type {number} */ key) => errorIn(scene, query * scene.base.columns + key);
  showTop(rowOf(scene.base, query), keyLabels, error, scene);
}

/** Say who looks at one key. @param {Scene} scene @param {number} key */
export function showKey(scene, key) {
  const { queryLabels, keyLabels } = wholeLabels(scene);
  const { rows, columns, values } = scene.base;
  const column = Float32Array.from({ length: rows }, (_, row) => values[row * columns + key]);
  filled(element("readout-line"), [made("q", keyLabels[key]), ` is key ${key}.`]);
  filled(element("readout-title"), ["Who looks at ", made("q", keyLabels[key]), " most"]);
  showTop(column, queryLabels, (row) => errorIn(scene, row * columns + key), scene);
  element("readout-rest").textContent = "Each bar is a share of that query's own row.";
}

/**
 * With no cell chosen: the keys that are looked at most, all queries together. The error of a mean
 * is at most the error at the mean, because the error grows as √w and √ is concave.
 * @param {Scene} scene
 */
export function showMean(scene) {
  const { rows, columns, values } = scene.base;
  const mean = new Float32Array(columns);
  values.forEach((weight, index) => {
    mean[index % columns] += weight / rows;
  });
  filled(element("readout-line"), [
    "Point at a cell to read it and click to keep it, or press Tab until the picture has a frame " +
      "and use the arrow keys.",
  ]);
  filled(element("readout-title"), ["Looked at most, mean over all queries"]);
  showTop(mean, wholeLabels(scene).keyLabels, (key) => scene.error(mean[key]), scene);
}

/** How far a weight of the whole matrix can be from the true one.
 * @param {Scene} scene @param {number} index */
export function errorIn({ base, error }, index) {
  return base.sure?.[index] ? 0 : error(base.values[index]);
}

/** @param {Float32Array} row @param {string[]} keys @param {(at: number) => number} error
 * @param {Scene} scene */
function showTop(row, keys, error, scene) {
  const top = strongest(row, BARS);
  filled(
    element("readout-top"),
    top.map((key) => bar(keys[key], row[key], error(key), scene.extent.top)),
  );
  const shown = top.reduce((total, key) => total + row[key], 0);
  const all = row.reduce((total, weight) => total + weight, 0);
  const about = scene.error(1) > 0 ? "about " : "";
  element("readout-rest").textContent =
    row.length > top.length
      ? `The other ${row.length - top.length} keys share ${about}${weightText(Math.max(0, all - shown), 0)}.`
      : "";
}

/** @param {string} title */
function lowered(title) {
  return title.charAt(0).toLowerCase() + title.slice(1);
}

/** @param {string} label @param {number} weight @param {number} error @param {number} top */
function bar(label, weight, error, top) {
  const length = made("span", "", "bar");
  length.style.width = `${Number.isFinite(weight) ? (Math.abs(weight) / top) * 100 : 0}%`;
  const item = document.createElement("li");
  item.append(length, made("span", label, "token"), made("span", weightText(weight, error), "weight"));
  return item;
}

/** @param {Scene} scene */
function wholeLabels({ axes }) {
  return { queryLabels: axes.queries.labels, keyLabels: axes.keys.labels };
}

/** @param {Matrix} matrix @param {number} query */
export function rowOf({ values, columns }, query) {
  return values.subarray(query * columns, (query + 1) * columns);
}

/** @param {number} rank */
function ordinal(rank) {
  if (rank === 1) return "the most";
  const ending = [11, 12, 13].includes(rank % 100) ? "th" : (["th", "st", "nd", "rd"][rank % 10] ?? "th");
  return `${rank}${ending}`;
}
