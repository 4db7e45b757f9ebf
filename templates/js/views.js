// @ts-check
// The views by name, as they stand in the address. A view draws a scene into its own element.
import { Arrows } from "./arrows.js";
import { Heatmap } from "./heatmap.js";
import { Overlay } from "./overlay.js";
import { Text } from "./text.js";

/** @typedef {import("./page.js").View} View */
/** @typedef {import("./weights.js").ReportDocument} ReportDocument */

/** @type {Record<string, (element: HTMLElement, report: ReportDocument) => Promise<View>>} */
export const VIEWS = {
  heatmap: (element, report) => Heatmap.mount(element, report.charts.heatmap),
  arrows: (element, report) => Arrows.mount(element, report),
  overlay: (element, report) => Overlay.mount(element, report),
  text: async (element) => new Text(element),
};
