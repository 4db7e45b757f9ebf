// @ts-check
// What the overlay says in words: how much of the attention the picture shows, what its colours and
// lines stand for, and what is interpolated.
import { about, weightText } from "./codes.js";

/** @typedef {import("./weights.js").Axis} Axis */
/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {{picture: number, special: number, text: number}} Shares sums of weights */
/** @typedef {{
 *   shown: "queries" | "keys", name: string | null, shares: Shares,
 *   part: {name: string, share: number} | null, withText: boolean, heads: number,
 *   map: string, largest: number, top: number, mode: string, smooth: boolean, even: boolean,
 *   rounded: boolean, mixed: boolean, seen: string[],
 * }} Told `map` is the title of what is drawn where that is no head; `seen` is what the picture, a
 *   box of it, and several of them are called, `part` which part of it is drawn, null for all of it */

/** The shares of weight that contour lines go around, widest line first. */
export const CONTOURS = [
  { share: 0.5, width: 3.2 },
  { share: 0.8, width: 2 },
  { share: 0.95, width: 1.1 },
];

/** How much of a map falls on patches, on special positions, and on text. Rounded weights may add up
 * to a little more than 1: then these are shares of their sum.
 * @param {Float32Array} values @param {Axis} axis @param {(Box | null)[]} boxes @returns {Shares} */
export function sharesOf(values, axis, boxes) {
  const sums = { picture: 0, special: 0, text: 0 };
  values.forEach((weight, index) => {
    if (!Number.isFinite(weight)) return;
    if (boxes[index]) sums.picture += weight;
    else sums[axis.roles[index] === "s" ? "special" : "text"] += weight;
  });
  const all = Math.max(1, sums.picture + sums.special + sums.text);
  return { picture: sums.picture / all, special: sums.special / all, text: sums.text / all };
}

/** @param {Told} told */
export function overlayWords(told) {
  return [...attentionWords(told), colourWords(told), ...lineWords(told)].join(" ");
}

/** @param {Told} told */
function attentionWords({ shown, name, shares, part: drawn, withText, heads, map, rounded, seen }) {
  const [whole, part, several] = seen;
  const over = heads > 1 ? ` (mean of ${heads} heads)` : "";
  if (shown === "queries" && name === null) return ["Choose a key to see who looks at it."];
  if (map) {
    const where = drawn ? `, shown on ${drawn.name}` : "";
    return [`${map}, ${name === null ? "mean over all queries" : `“${name}”`}${where}.`];
  }
  const here = drawn ? [`Shown here is ${drawn.name}, with ${about(rounded)}${percent(drawn.share)}.`] : [];
  if (shown === "queries") {
    const all = shares.picture + shares.special + shares.text || 1;
    const parts = wordsForShares(shares, withText, all, rounded);
    return [
      `Who looks at “${name}”: each ${part} shows how much of its own attention goes there.`,
      `Of all that comes there${over}, ${parts(`from ${several}`, "from special positions", "from text")}.`,
      ...here,
    ];
  }
  const parts = wordsForShares(shares, withText, 1, rounded);
  const words = parts(`falls on the ${whole}`, "on special positions", "on text");
  const all = name === null ? `Mean over all queries${over}: ${words}.` : `Of what “${name}” looks at${over}, ${words}.`;
  return [all, ...here];
}

/** @param {Shares} shares @param {boolean} withText @param {number} all @param {boolean} rounded */
function wordsForShares({ picture, special, text }, withText, all, rounded) {
  const share = (/** @type {number} */ sum) => `${about(rounded)}${percent(sum / all)}`;
  return (/** @type {string} */ there, /** @type {string} */ elsewhere, /** @type {string} */ words) =>
    `${share(picture)} ${there}, ${share(special)} ${elsewhere}` +
    (withText ? ` and ${share(text)} ${words}` : "");
}

/** @param {number} share */
function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

/** @param {Told} told */
function colourWords({ largest, top, mode, seen }) {
  const most = `Largest ${seen[1]}: ${weightText(largest, 0)}`;
  if (mode === "contours") return `${most}.`;
  if (mode === "heads" && top !== 1) return `${most}; full colour stands for the largest of each map.`;
  return `${most}; full colour stands for ${weightText(top, 0)}.`;
}

/** @param {Told} told */
function lineWords({ shown, map, mode, smooth, even, mixed, seen: [whole, , several] }) {
  const words = [];
  if (mode === "heads" && shown === "keys" && !map) {
    words.push(`Behind each head: which share of its attention falls on the ${whole}.`);
  }
  if (mode === "contours") {
    const [thick, middle, thin] = CONTOURS.map(({ share }) => `${share * 100} %`);
    words.push(
      `Lines go around the fewest ${several} that together hold ${thick} (thick), ${middle} and ${thin} ` +
        `(thin) of what falls on the ${whole}.`,
    );
  }
  if (mixed) {
    words.push(`Here ${several} lie over each other, so colours mix: single weights stand in the table.`);
  }
  if (smooth && even) {
    words.push(`Smooth: between the middles of ${several} values are interpolated, not the model’s.`);
  } else if (smooth) {
    words.push(`The ${several} make no even grid here, so nothing is interpolated: they are shown as they are.`);
  }
  return words;
}
