// @ts-check
// The colour bar of the shown scale. Its axis is the place on the scale, 0 to 1; its labels are
// the weights that lie there.
import { drawn, mountChart } from "./chart.js";
import { pictureOf } from "./png.js";
import { marksOf } from "./scale.js";

/** @typedef {import("./scene.js").Scene} Scene */

/** Draw the scale of a scene into an element. */
export class Colourbar {
  /** @param {HTMLElement} element @param {any} view a Vega view */
  constructor(element, view) {
    this.element = element;
    this.view = view;
  }

  /** @param {HTMLElement} element @param {object} spec Vega */
  static async mount(element, spec) {
    return new Colourbar(element, await mountChart(element, spec));
  }

  /** @param {Scene} scene @param {import("./scale.js").Extent} extent what the scale goes to
   * @param {Uint8Array} [alphas] how much each colour covers */
  async show(scene, extent = scene.extent, alphas) {
    const marks = marksOf(scene.state.scale, extent);
    const codes = Uint8Array.from({ length: scene.levels }, (_, code) => code);
    const url = pictureOf(codes, 1, scene.levels, scene.palette, alphas);
    this.view
      .signal("places", marks.map(({ place }) => place))
      .signal("labels", marks.map(({ label }) => label))
      .signal("ink", scene.ink)
      .data("picture", [{ x0: 0, x1: 1, url }]);
    await drawn(this.element, this.view, url);
  }
}
