// @ts-check
// The text view: the text itself, each token shaded by how much it is looked at, or looks.
import { filled, made } from "./dom.js";
import { placeOf } from "./scale.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./weights.js").Axis} Axis */
/** @typedef {"query" | "key"} Role */

/** Draw a scene as flowing text. */
export class Text {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Record<Role, HTMLElement[]>} */
    this.tokens = { query: [], key: [] };
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    const { queries, keys } = scene.axes;
    this.tokens = { query: [], key: [] };
    const blocks = [
      this.block(queries, "query", `${scene.queryName}: choose who looks`),
      this.block(keys, "key", `${scene.keyName}: shaded by how much it is looked at`),
    ];
    filled(this.element, blocks.flat());
    this.shade(scene.state.query, scene.state.key);
  }

  /** @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    this.shade(query, key);
  }

  /** Shade keys by the chosen query's weights, or by the mean of all; and queries by how much they
   * look at the chosen key. @param {number | null} query @param {number | null} key */
  shade(query, key) {
    if (!this.scene) return;
    const { rows, columns, values } = this.scene.base;
    const toKeys = new Float32Array(columns);
    values.forEach((weight, index) => {
      const row = Math.floor(index / columns);
      if (query === null) toKeys[index % columns] += weight / rows;
      else if (row === query) toKeys[index % columns] = weight;
    });
    const fromQueries = Float32Array.from({ length: rows }, (_, row) =>
      key === null ? 0 : values[row * columns + key],
    );
    this.tokens.key.forEach((node, index) => this.colour(node, toKeys[index], index === key));
    this.tokens.query.forEach((node, index) => this.colour(node, fromQueries[index], index === query));
  }

  /** @param {HTMLElement} node @param {number} weight @param {boolean} chosen */
  colour(node, weight, chosen) {
    const { palette, levels, state, extent } = /** @type {Scene} */ (this.scene);
    const code = Number.isFinite(weight) ? Math.round(placeOf(state.scale, weight, extent) * (levels - 1)) : levels;
    const [red, green, blue] = palette.subarray(code * 3, code * 3 + 3);
    node.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
    node.style.color = 0.299 * red + 0.587 * green + 0.114 * blue < 140 ? "#ffffff" : "#15151c";
    node.classList.toggle("chosen", chosen);
  }

  /** One sequence as text: tokens in place, what lies between them as it stands.
   * @param {Axis} axis @param {Role} role @param {string} title */
  block(axis, role, title) {
    const text = made("p", "", "flow");
    text.dir = "auto";
    let at = 0;
    axis.labels.forEach((label, index) => {
      const span = axis.spans?.[index] ?? null;
      if (span && axis.text && span[0] > at) text.append(axis.text.slice(at, span[0]));
      text.append(this.token(axis, role, index, label, span, at));
      if (span) at = Math.max(at, span[1]);
    });
    if (axis.text) text.append(axis.text.slice(at));
    return [made("h3", title), text];
  }

  /** @param {Axis} axis @param {Role} role @param {number} index @param {string} label
   * @param {[number, number] | null} span @param {number} at where the text was shown up to */
  token(axis, role, index, label, span, at) {
    // A second token of the same character, or one that stands for no text, shows its label.
    const own = span && axis.text && span[0] >= at && span[1] > span[0];
    const node = made("span", own && span ? (axis.text ?? "").slice(...span) : label, own ? "token" : "token added");
    node.dataset.role = role;
    node.dataset.index = String(index);
    this.tokens[role].push(node);
    return node;
  }

  /** @param {MouseEvent} event @returns {[number | null, number | null] | null} */
  cellAt(event) {
    const node = /** @type {HTMLElement} */ (event.target).closest("[data-role]");
    if (!(node instanceof HTMLElement)) return null;
    const index = Number(node.dataset.index);
    return node.dataset.role === "query" ? [index, null] : [null, index];
  }
}
