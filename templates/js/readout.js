// @ts-check
// The words beside a view: the chosen cell, and where its query looks most.
import { about, rankIn, strongest, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";
import { lookedAt, lookers } from "./profile.js";

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
    made("b", weightText(weight, scene.errorAt(query * scene.base.columns + key))),
    Number.isNaN(weight) ? "." : `, ${ordinal(rankIn(row, key))} of ${row.length} keys.`,
  ]);
  showWhere(scene, [query], ["Where ", made("q", queryLabels[query]), " looks most"]);
}

/** Say where one query looks. @param {Scene} scene @param {number} query */
export function showQuery(scene, query) {
  const { queryLabels } = wholeLabels(scene);
  filled(element("readout-line"), [made("q", queryLabels[query]), ` is query ${query}.`]);
  showWhere(scene, [query], ["Where ", made("q", queryLabels[query]), " looks most"]);
}

/** Say who looks at one key. @param {Scene} scene @param {number} key */
export function showKey(scene, key) {
  const { keyLabels } = wholeLabels(scene);
  filled(element("readout-line"), [made("q", keyLabels[key]), ` is key ${key}.`]);
  showWho(scene, [key], ["Who looks at ", made("q", keyLabels[key]), " most"]);
}

/** Say what several queries look at, or who looks at several keys.
 * @param {Scene} scene @param {"to" | "from"} look @param {number[]} chosen */
export function showSet(scene, look, chosen) {
  const { queryLabels, keyLabels } = wholeLabels(scene);
  const labels = look === "to" ? queryLabels : keyLabels;
  const names = chosen.flatMap((at, place) => [...(place ? [", "] : []), made("q", labels[at])]);
  filled(element("readout-line"), [`${chosen.length} chosen: `, ...names, "."]);
  if (look === "to") showWhere(scene, chosen, ["Where the chosen look most, mean of their rows"]);
  else showWho(scene, chosen, ["Who looks at the chosen most, sum over them"]);
}

/** With nothing chosen: the keys that are looked at most, all queries together. @param {Scene} scene */
export function showMean(scene) {
  filled(element("readout-line"), [HINTS[scene.state.view] ?? HINTS.heatmap]);
  showWhere(scene, [], ["Looked at most, mean over all queries"]);
}

/** @type {Record<string, string>} */
const HINTS = {
  heatmap:
    "Point at a cell to read it and click to keep it, or press Tab until the picture has a frame " +
    "and use the arrow keys.",
  arrows: "Point at a name to see only its lines and click to keep it, or use Tab and the arrow keys.",
  text:
    "Click a token to choose it; with Shift up to it, with Ctrl or ⌘ one more. Or use Tab and the " +
    "arrow keys.",
};

/** @param {Scene} scene @param {number[]} queries @param {(Node | string)[]} title */
function showWhere(scene, queries, title) {
  filled(element("readout-title"), title);
  showTop(lookedAt(scene, queries), wholeLabels(scene).keyLabels, scene.extent.top);
}

/** @param {Scene} scene @param {number[]} keys @param {(Node | string)[]} title */
function showWho(scene, keys, title) {
  filled(element("readout-title"), title);
  showTop(lookers(scene, keys), wholeLabels(scene).queryLabels, scene.extent.top);
  element("readout-rest").textContent = "Each bar is a share of that query's own row.";
}

/** @param {import("./profile.js").Profile} profile @param {string[]} keys
 * @param {number} largest the value of a whole bar */
function showTop({ values: row, errorAt }, keys, largest) {
  const top = strongest(row, BARS);
  filled(
    element("readout-top"),
    top.map((key) => bar(keys[key], row[key], errorAt(key), largest)),
  );
  const shown = top.reduce((total, key) => total + row[key], 0);
  const all = row.reduce((total, weight) => total + weight, 0);
  const rounded = row.some((_, key) => errorAt(key) > 0);
  element("readout-rest").textContent =
    row.length > top.length
      ? `${others(row.length - top.length)} ${about(rounded)}${weightText(Math.max(0, all - shown), 0)}.`
      : "";
}

/** @param {string} title */
function lowered(title) {
  return title.charAt(0).toLowerCase() + title.slice(1);
}

/** @param {number} count */
function others(count) {
  return count === 1 ? "The other key has" : `The other ${count} keys share`;
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
