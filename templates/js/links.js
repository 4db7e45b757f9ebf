// @ts-check
// The table of strongest links: for every query the keys it looks at most.
import { strongest, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";
import { rowOf } from "./readout.js";

const STRONGEST = 3;

/** Fill the table, unless it is folded away; then it waits until it is opened.
 * @param {import("./scene.js").Scene} scene */
export function showLinks(scene) {
  const { base, axes } = scene;
  const folded = linksFold()?.open === false;
  element("links-body").hidden = folded; // its rows may be another head's
  if (folded) return;
  filled(
    element("links-body"),
    axes.queries.labels.map((label, query) => {
      const row = rowOf(base, query);
      const line = document.createElement("tr");
      const head = made("th", label, axes.queries.roles[query] === "s" ? "special" : "");
      head.setAttribute("scope", "row");
      const links = strongest(row, STRONGEST);
      const errors = links.map((key) => scene.errorAt(query * base.columns + key));
      line.append(head, ...links.map((key, at) => cell(axes.keys.labels[key], row[key], errors[at])));
      return line;
    }),
  );
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
