// @ts-check
// What layers and heads are called. The report counts them by their place; where a selection left some
// out while the model ran, their numbers are others.

/** @typedef {{layer: number, heads: number[]}} Numbers */

/** @param {import("./weights.js").ReportDocument} report @param {{layer: number, heads: number[]}} places
 * @returns {Numbers} the same places of what is no layer of the model */
export function numbersOf({ layers }, { layer, heads }) {
  const at = layers[layer];
  return at ? { layer: at.number, heads: heads.map((head) => at.numbers[head]) } : { layer, heads };
}

/** The numbers of all heads, each once and sorted: a chart of layers and heads has a column for each.
 * @param {import("./weights.js").ReportDocument} report */
export function headNumbers({ layers }) {
  return [...new Set(layers.flatMap(({ numbers }) => numbers))].sort((a, b) => a - b);
}
