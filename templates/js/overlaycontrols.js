// @ts-check
// What a reader chooses of the overlay: how it is drawn, how much it covers, which part it shows.
import { element, picker } from "./dom.js";

/** Pickers by the name that their choice has in the state. */
export const CONTROLS = /** @type {const} */ (["look", "mode", "full", "patches"]);

/** @param {import("./page.js").Page} page */
export function listenToOverlay(page) {
  const opacity = /** @type {HTMLInputElement} */ (element("opacity"));
  opacity.value = String(page.state.opacity);
  opacity.addEventListener("input", () => page.go({ opacity: Number(opacity.value) }));
  for (const name of CONTROLS) {
    const select = picker(`${name}-select`);
    select.addEventListener("change", () => page.go({ [name]: select.value, ...allHeads(page, select.value) }));
  }
  element("overlay-parts").addEventListener("click", (event) => {
    const { part } = /** @type {HTMLElement} */ (event.target).dataset;
    if (part !== undefined) page.go({ part: Number(part) });
  });
  element("overlay-tab").hidden = !page.report.pictures.length;
}

/** With "each head" chosen where there is one head, all heads of the layer are meant.
 * @param {import("./page.js").Page} page @param {string} chosen */
function allHeads(page, chosen) {
  const { heads, layer } = page.state;
  if (chosen !== "heads" || heads.length > 1) return {};
  return { heads: Array.from({ length: page.shapes[layer].heads }, (_, head) => head) };
}
