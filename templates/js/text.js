// @ts-check
// The text view: the text itself, each token shaded by how much it is looked at, or looks. A sequence
// that looks at itself stands once, and is both who looks and what is looked at.
import { element, filled, made } from "./dom.js";
import { inkOn } from "./palette.js";
import { lookedAt, lookers } from "./profile.js";
import { placeOf } from "./scale.js";
import { TextPicture } from "./textpicture.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./weights.js").Axis} Axis */
/** @typedef {"query" | "key"} Role */
/** @typedef {"to" | "from"} Look to: what queries look at; from: who looks at keys */
/** @typedef {{look: Look, places: number[]}} Chosen */

/** Draw a scene as flowing text. */
export class Text {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    /** @type {Scene | null} */
    this.scene = null;
    this.view = new TextPicture(element, () => this.scene?.ink ?? "");
    /** @type {Record<Role, HTMLElement[]>} */
    this.tokens = { query: [], key: [] };
    /** @type {Float32Array} what is shaded by, for whoever takes it out */
    this.values = new Float32Array();
  }

  /** @param {Scene} scene */
  async show(scene) {
    this.scene = scene;
    const { queries, keys } = scene.axes;
    this.tokens = { query: [], key: [] };
    if (scene.self) {
      const role = scene.state.look === "to" ? "query" : "key";
      filled(this.element, this.block(queries, role, ""));
      this.tokens = { query: this.tokens[role], key: this.tokens[role] };
    } else {
      const blocks = [
        this.block(queries, "query", `${scene.queryName}: who looks`),
        this.block(keys, "key", `${scene.keyName}: what is looked at`),
      ];
      filled(this.element, blocks.flat());
    }
    this.shade(this.kept());
  }

  /** @param {number | null} query @param {number | null} key */
  async mark(query, key) {
    if (!this.scene) return;
    const { state } = this.scene;
    const kept = query === state.query && key === state.key;
    this.shade(kept ? this.kept() : this.chosen(query, key, []));
  }

  /** What the state chooses. @returns {Chosen} */
  kept() {
    const { state } = /** @type {Scene} */ (this.scene);
    return this.chosen(state.query, state.key, state.more);
  }

  /** @param {number | null} query @param {number | null} key @param {number[]} more @returns {Chosen} */
  chosen(query, key, more) {
    const { state, self, base } = /** @type {Scene} */ (this.scene);
    const look = self ? state.look : query === null && key !== null ? "from" : "to";
    const [pinned, length] = look === "to" ? [query, base.rows] : [key, base.columns];
    const places = [...new Set([...(pinned === null ? [] : [pinned]), ...more])];
    return { look, places: places.filter((place) => place < length).sort((a, b) => a - b) };
  }

  /** @param {Chosen} chosen */
  shade({ look, places }) {
    const scene = /** @type {Scene} */ (this.scene);
    this.values = (look === "to" ? lookedAt(scene, places) : lookers(scene, places)).values;
    const [shaded, choosing] = look === "to" ? [this.tokens.key, this.tokens.query] : [this.tokens.query, this.tokens.key];
    const { top } = scene.extent;
    const share = scene.state.range === "row" ? largestOf(this.values) / top : 1;
    if (!scene.self) choosing.forEach((node) => this.colour(node, 0));
    shaded.forEach((node, place) => this.colour(node, this.values[place] / share));
    [...shaded, ...choosing].forEach((node) => node.classList.remove("chosen"));
    choosing.forEach((node, place) => node.classList.toggle("chosen", places.includes(place)));
    this.tokens.key.forEach((node, place) => node.classList.toggle("away", scene.dropped.includes(place)));
    element("text-words").textContent = this.words({ look, places });
  }

  /** Say what the shade stands for. @param {Chosen} chosen */
  words({ look, places }) {
    const { axes } = /** @type {Scene} */ (this.scene);
    const labels = (look === "to" ? axes.queries : axes.keys).labels;
    const who = places.length === 1 ? `“${labels[places[0]]}”` : `${places.length} chosen tokens`;
    if (look === "to" && !places.length) return `Shade: how much each is looked at, mean over all ${labels.length} queries.`;
    if (look === "to") return `Shade: what ${who} ${places.length === 1 ? "looks" : "look"} at${places.length > 1 ? ", mean of their rows" : ""}.`;
    if (!places.length) return "Choose a token to see who looks at it.";
    return `Shade: who looks at ${who}, as a share of each one's own attention${places.length > 1 ? ", summed" : ""}.`;
  }

  /** @param {HTMLElement} node @param {number} weight */
  colour(node, weight) {
    const { palette, levels, state, extent } = /** @type {Scene} */ (this.scene);
    const code = Number.isFinite(weight) ? Math.round(placeOf(state.scale, weight, extent) * (levels - 1)) : levels;
    const [red, green, blue] = palette.subarray(code * 3, code * 3 + 3);
    node.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
    node.style.color = inkOn(palette, code);
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
    return title ? [made("h3", title), text] : [text];
  }

  /** @param {Axis} axis @param {Role} role @param {number} index @param {string} label
   * @param {[number, number] | null} span @param {number} at where the text was shown up to */
  token(axis, role, index, label, span, at) {
    // A second token of the same character, or one that stands for no text, shows its label.
    const own = span && axis.text && span[0] >= at && span[1] > span[0];
    const node = made("span", own && span ? (axis.text ?? "").slice(...span) : label, own ? "token" : "token added");
    if (!own) node.dir = "auto"; // or a [CLS] before it would turn a text that runs from right to left
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

  /** What is chosen after a click on a cell with Shift, which chooses all up to it, or with Ctrl or ⌘,
   * which puts it in or takes it out.
   * @param {[number | null, number | null]} cell @param {boolean} upTo
   * @returns {{query: number | null, key: number | null, more: number[]}} */
  extended([query, key], upTo) {
    const { state } = /** @type {Scene} */ (this.scene);
    const look = query === null ? "from" : "to";
    const place = /** @type {number} */ (query ?? key);
    const now = this.kept();
    const places = now.look === look ? now.places : [];
    const from = (look === "to" ? state.query : state.key) ?? places[0] ?? place;
    const next = upTo
      ? Array.from({ length: Math.abs(place - from) + 1 }, (_, step) => Math.min(place, from) + step)
      : places.includes(place)
        ? places.filter((one) => one !== place)
        : [...places, place];
    const first = next.includes(from) ? from : (next[0] ?? null);
    const more = next.filter((one) => one !== first);
    return look === "to" ? { query: first, key: null, more } : { query: null, key: first, more };
  }

  /** Where an arrow key leads from what is kept; to the left is back, and on in a text that runs
   * from right to left. Where more is chosen on the way it goes on from the far end.
   * @param {string} press @param {boolean} extending @returns {[number | null, number | null] | null} */
  walked(press, extending) {
    const { look, places } = this.kept();
    const { state } = /** @type {Scene} */ (this.scene);
    const nodes = look === "to" ? this.tokens.query : this.tokens.key;
    const pinned = look === "to" ? state.query : state.key;
    const far = places[0] === pinned ? places[places.length - 1] : places[0];
    const at = extending && places.length ? far : pinned;
    const onward = getComputedStyle(nodes[0]).direction === "rtl" ? -1 : 1;
    /** @type {Record<string, number>} */
    const steps = { ArrowRight: onward, ArrowLeft: -onward, ArrowDown: 1, ArrowUp: -1, Home: -nodes.length, End: nodes.length };
    if (!steps[press]) return null;
    const to = at === null ? 0 : Math.min(nodes.length - 1, Math.max(0, at + steps[press]));
    return look === "to" ? [to, null] : [null, to];
  }
}

/** @param {Float32Array} values */
function largestOf(values) {
  return values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0) || 1;
}
