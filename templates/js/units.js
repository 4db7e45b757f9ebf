// @ts-check
// Tokens joined to words: weights of a word's keys add up, weights of a word's queries are averaged,
// so that a row still adds up to what it did.

/** @typedef {import("./weights.js").Matrix} Matrix */
/** @typedef {import("./weights.js").Axis} Axis */
/** @typedef {number[][]} Groups positions that become one, in order */

/** Tells whether an axis knows which characters its tokens stand for. @param {Axis} axis */
export function hasWords({ text, spans }) {
  return Boolean(text && spans?.some((span) => span));
}

/**
 * Which positions make a word: they follow each other without white space between. What stands for
 * no text is a word of its own.
 * @param {Axis} axis @returns {Groups}
 */
export function wordsOf({ labels, text, spans }) {
  /** @type {Groups} */
  const groups = [];
  labels.forEach((_, index) => {
    const last = groups[groups.length - 1];
    const [before, here] = [spans?.[index - 1], spans?.[index]];
    const joins = text && last && before && here && !spaceBetween(text, before, here);
    if (joins) last.push(index);
    else groups.push([index]);
  });
  return groups;
}

/** @param {string} text @param {[number, number]} before @param {[number, number]} here */
function spaceBetween(text, before, here) {
  if (here[0] < before[1]) return false; // two pieces of one character
  const edge = text.slice(Math.max(0, before[1] - 1), here[0] + 1);
  return /\s/u.test(edge) || here[0] === here[1];
}

/** @param {Axis} axis @param {Groups} groups @returns {Axis} */
export function groupedAxis(axis, groups) {
  const spans = groups.map((group) => joined(group.map((index) => axis.spans?.[index] ?? null)));
  return {
    ...axis,
    spans,
    labels: groups.map((group, place) => {
      const span = spans[place];
      const word = span && axis.text ? axis.text.slice(...span).trim() : "";
      return group.length > 1 && word ? word : group.map((index) => axis.labels[index]).join("");
    }),
    roles: groups.map(([first]) => axis.roles[first]).join(""),
  };
}

/** @param {([number, number] | null)[]} spans @returns {[number, number] | null} */
function joined(spans) {
  const known = /** @type {[number, number][]} */ (spans.filter((span) => span));
  if (!known.length) return null;
  return [Math.min(...known.map(([start]) => start)), Math.max(...known.map(([, end]) => end))];
}

/** Errors of what is added up add up too.
 * @param {Matrix} matrix @param {Groups} rows @param {Groups} columns
 * @param {(index: number) => number} errorAt @returns {Matrix} */
export function pooled(matrix, rows, columns, errorAt) {
  if (rows.length === matrix.rows && columns.length === matrix.columns) return matrix;
  const values = new Float32Array(rows.length * columns.length);
  const errors = new Float32Array(values.length);
  rows.forEach((queries, row) => {
    columns.forEach((keys, column) => {
      let [sum, error] = [0, 0];
      for (const query of queries) {
        for (const key of keys) {
          sum += matrix.values[query * matrix.columns + key];
          error += errorAt(query * matrix.columns + key);
        }
      }
      values[row * columns.length + column] = sum / queries.length;
      errors[row * columns.length + column] = error / queries.length;
    });
  });
  return { rows: rows.length, columns: columns.length, values, errors };
}

/** Every position for itself. @param {Axis} axis @returns {Groups} */
export function tokensOf({ labels }) {
  return labels.map((_, index) => [index]);
}
