// @ts-check
// What is laid over the picture, as rows of the chart's data: maps, patches and contour lines.
import { holding, isolines, outlines } from "./contours.js";
import { interpolated, smoothness } from "./smoothing.js";
import { CONTOURS } from "./overlaywords.js";
import { pictureOf } from "./png.js";
import { placeOf } from "./scale.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {import("./boxes.js").Grid} Grid */
/** @typedef {import("./panels.js").Panel} Panel */
/** @typedef {{panel: Panel, values: Float32Array, largest: number, top: number}} Laid a map and
 *   where it lies; `top` is the weight of full colour */

/** A map as one small picture, patch by patch or interpolated.
 * @param {Scene} scene @param {Laid} laid @param {Grid} grid */
export function mapPicture(scene, { values, top, panel }, { rows, columns, places, extent }) {
  const inGrid = Float32Array.from(places, (index) => values[index]);
  const factor = scene.state.patches === "smooth" ? smoothness(rows, columns) : 1;
  const finer = factor > 1 ? interpolated(inGrid, rows, columns, factor) : inGrid;
  const codes = mapCodes(scene, finer, top);
  const url = pictureOf(codes, rows * factor, columns * factor, scene.palette, alphasOf(scene));
  return { ...placed(extent, panel), url };
}

/** A map as one rectangle for each patch.
 * @param {Scene} scene @param {Laid} laid @param {(Box | null)[]} boxes */
export function patchRects(scene, { values, top, panel }, boxes) {
  const { palette } = scene;
  const [codes, alphas] = [mapCodes(scene, values, top), alphasOf(scene)];
  return boxes.flatMap((box, index) => {
    if (!box) return [];
    const colour = `rgb(${palette.subarray(codes[index] * 3, codes[index] * 3 + 3).join(",")})`;
    return [{ ...placed(cornersOf(box), panel), colour, opacity: alphas[codes[index]] / 255 }];
  });
}

/** Lines around the patches that hold most.
 * @param {Scene} scene @param {Laid} laid @param {Grid | null} grid @param {(Box | null)[]} boxes */
export function contourLines({ state }, { values, panel }, grid, boxes) {
  // The widest line last, so that it lies on top where lines run together.
  return [...CONTOURS].reverse().flatMap(({ share, width }) => {
    const { members, level } = holding(values, boxes, share);
    const smooth = state.patches === "smooth" && grid && members.size;
    const segments = smooth ? isolines(values, grid, level) : outlines(boxes, members);
    return segments.map((one) => ({ ...placed(one, panel), width, casing: width + 2 }));
  });
}

/** @param {Scene} scene @param {Float32Array} values @param {number} top @returns {Uint8Array} */
function mapCodes({ state, levels, extent }, values, top) {
  const within = { top, signed: extent.signed };
  return Uint8Array.from(values, (weight) =>
    Number.isFinite(weight) ? Math.round(placeOf(state.scale, weight, within) * (levels - 1)) : levels,
  );
}

/** How much each colour covers: nothing at 0, all that is wanted from the middle on.
 * @param {Scene} scene */
export function alphasOf({ levels, state, extent }) {
  return Uint8Array.from({ length: levels + 1 }, (_, code) => {
    const place = code / (levels - 1);
    const size = extent.signed ? Math.abs(2 * place - 1) : place;
    return Math.round((state.opacity / 100) * (code === levels ? 1 : Math.min(1, 2 * size)) * 255);
  });
}

/** @param {Box} box */
export function cornersOf([x0, y0, x1, y1]) {
  return { x0, y0, x1, y1 };
}

/** @param {{x0: number, y0: number, x1: number, y1: number}} sides @param {Panel} panel */
export function placed({ x0, y0, x1, y1 }, { x, y }) {
  return { x0: x0 + x, y0: y0 + y, x1: x1 + x, y1: y1 + y };
}
