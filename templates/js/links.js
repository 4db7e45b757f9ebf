// @ts-check
// The table of strongest links: for every query the keys it looks at most.
import { strongest, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";
import { rowOf } from "./readout.js";

const STRONGEST = 3;

/** Fill the table; what is folded away waits until it is opened.
 * @param {import("./scene.js").Scene} scene */
export function showLinks(scene) {
  const fold = linksFold();
  const lines = scene.axes.queries.labels.length;
  const unfolded = Math.min(lines, Number(fold?.dataset.first ?? lines));
  filled(element("links-body"), linkLines(scene, 0, unfolded));
  if (!fold) return;
  fold.hidden = lines === unfolded;
  element("links-others").textContent = String(lines - unfolded);
  element("links-rest").hidden = !fold.open; // its rows may be another head's
  if (fold.open) filled(element("links-rest"), linkLines(scene, unfolded, lines));
}

/** @param {import("./scene.js").Scene} scene @param {number} first @param {number} end */
function linkLines({ base, axes, errorAt }, first, end) {
  return axes.queries.labels.slice(first, end).map((label, at) => {
    const query = first + at;
    const row = rowOf(base, query);
    const line = document.createElement("tr");
    const head = made("th", label, axes.queries.roles[query] === "s" ? "special" : "");
    head.setAttribute("scope", "row");
    const links = strongest(row, STRONGEST);
    const errors = links.map((key) => errorAt(query * base.columns + key));
    line.append(head, ...links.map((key, place) => cell(axes.keys.labels[key], row[key], errors[place])));
    return line;
  });
}

/** What a long table is folded into. @returns {HTMLDetailsElement | null} */
export function linksFold() {
  return /** @type {HTMLDetailsElement | null} */ (document.getElementById("links-fold"));
}

/** @param {string} label @param {number} weight @param {number} error */
function cell(label, weight, error) {
  const link = document.createElement("td");
  if (weight === 0 && error === 0) link.append("–");
  else link.append(made("bdi", label), ` ${weightText(weight, error)}`);
  return link;
}
