// @ts-check
// The table of strongest links: for every query the keys it looks at most.
import { strongest, weightText } from "./codes.js";
import { element, filled, made } from "./dom.js";
import { rowOf } from "./readout.js";

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {import("./weights.js").Axis} Axis */

const STRONGEST = 3;

/** @param {Matrix} matrix @param {Axis} queries @param {Axis} keys
 * @param {(weight: number) => number} error */
export function showLinks(matrix, queries, keys, error) {
  filled(
    element("links-body"),
    queries.labels.map((label, query) => {
      const row = rowOf(matrix, query);
      const line = document.createElement("tr");
      const head = made("th", label, queries.roles[query] === "s" ? "special" : "");
      head.setAttribute("scope", "row");
      line.append(head, ...strongest(row, STRONGEST).map((key) => cell(keys.labels[key], row[key], error)));
      return line;
    }),
  );
}

/** @param {string} label @param {number} weight @param {(weight: number) => number} error */
function cell(label, weight, error) {
  const link = document.createElement("td");
  link.append(made("span", label, "token"), " ", made("span", weightText(weight, error(weight)), "weight"));
  return link;
}
