// @ts-check
// Which weights become lines: the strongest first, and how much of all weight they hold.

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {{row: number, column: number, weight: number, part: number}} Edge */

/**
 * The strongest weights of several matrices.
 * @param {Matrix[]} parts @param {number} most how many at the most
 * @param {number} least the smallest weight that counts as strong
 * @param {(row: number, column: number) => boolean} wanted
 * @returns {{edges: Edge[], share: number}} share: what the edges hold of all weight that is wanted
 */
export function strongestEdges(parts, most, least, wanted) {
  const bound = Math.max(least, boundOf(parts, most, wanted));
  /** @type {Edge[]} */
  const edges = [];
  let all = 0;
  parts.forEach(({ columns, values }, part) => {
    for (let index = 0; index < values.length; index += 1) {
      const weight = values[index];
      const row = Math.floor(index / columns);
      const column = index % columns;
      if (!(weight > 0) || !Number.isFinite(weight) || !wanted(row, column)) continue;
      all += weight;
      if (weight >= bound) edges.push({ row, column, weight, part });
    }
  });
  edges.sort((a, b) => b.weight - a.weight);
  const kept = edges.slice(0, most);
  const held = kept.reduce((total, { weight }) => total + weight, 0);
  return { edges: kept, share: all ? held / all : 0 };
}

/** The smallest weight among the strongest. @param {Matrix[]} parts @param {number} most
 * @param {(row: number, column: number) => boolean} wanted */
function boundOf(parts, most, wanted) {
  const all = parts.flatMap(({ columns, values }) =>
    Array.from(values).filter(
      (weight, index) => weight > 0 && wanted(Math.floor(index / columns), index % columns),
    ),
  );
  const sorted = Float32Array.from(all).sort();
  return sorted.length > most ? sorted[sorted.length - most] : 0;
}
