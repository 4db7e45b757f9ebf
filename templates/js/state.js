// @ts-check
// What is shown, and its form in the address: #layer=3&head=5&query=2&key=4

/** @typedef {{layer: number, head: number, query: number | null, key: number | null}} State */
/** @typedef {{heads: number, queries: number, keys: number}} Shape of one layer */

/**
 * Read a hash; whatever is missing, no whole number or out of range is as if it were not there.
 * @param {string} hash @param {Shape[]} shapes @param {State} otherwise
 * @returns {State}
 */
export function stateOfHash(hash, shapes, otherwise) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const layer = wholeBelow(fields.get("layer"), shapes.length) ?? otherwise.layer;
  const shape = shapes[layer];
  return {
    layer,
    head: wholeBelow(fields.get("head"), shape.heads) ?? Math.min(otherwise.head, shape.heads - 1),
    query: wholeBelow(fields.get("query"), shape.queries),
    key: wholeBelow(fields.get("key"), shape.keys),
  };
}

/** @param {State} state @returns {string} */
export function hashOfState(state) {
  const parts = [`layer=${state.layer}`, `head=${state.head}`];
  if (state.query !== null) parts.push(`query=${state.query}`);
  if (state.key !== null) parts.push(`key=${state.key}`);
  return `#${parts.join("&")}`;
}

/** @param {string | null} text @param {number} bound @returns {number | null} */
function wholeBelow(text, bound) {
  if (text === null || !/^\d{1,9}$/.test(text)) return null;
  const number = Number(text);
  return number < bound ? number : null;
}
