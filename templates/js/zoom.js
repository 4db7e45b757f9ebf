// @ts-check
// Zoom and pan of the heatmap: dragging a frame, wheel or pinch, and keys change which rows and
// columns are shown. A cell is never interpolated: zooming in is showing fewer of them, larger.
import { element } from "./dom.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {[number, number]} Bounds first and last place */

const FACTOR = 1.25;
const LEAST = 4;
const DRAG_PIXELS = 6;
/** @type {Record<string, [number, number]>} rows and columns to move by */
const PANS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };

/** A window of `length` places, scaled around `centre` and kept inside. @param {Bounds} bounds
 * @param {number} length @param {number} centre @param {number} factor below 1 zooms in
 * @returns {Bounds | null} */
export function zoomed([first, last], length, centre, factor) {
  const size = last - first + 1;
  // At least one place more or less, so that every step is seen.
  const wanted = factor < 1 ? Math.min(size - 1, Math.round(size * factor)) : Math.max(size + 1, Math.round(size * factor));
  const next = Math.min(length, Math.max(Math.min(LEAST, length), wanted));
  const share = size > 1 ? (centre - first) / (size - 1) : 0.5;
  return inside([Math.round(centre - share * (next - 1)), next], length);
}

/** The same window, moved. @param {Bounds} bounds @param {number} length @param {number} by
 * @returns {Bounds | null} */
export function moved([first, last], length, by) {
  return inside([first + by, last - first + 1], length);
}

/** @param {[number, number]} start and size @param {number} length @returns {Bounds | null} */
function inside([start, size], length) {
  if (size >= length) return null;
  const first = Math.min(length - size, Math.max(0, start));
  return [first, first + size - 1];
}

/** @param {Page} page */
export function listenToZoom(page) {
  const live = element("heatmap-live");
  live.addEventListener(
    "wheel",
    (event) => {
      // The plain wheel belongs to the page; with Ctrl or ⌘, which is also what a pinch sends, it zooms.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(page, event.deltaY > 0 ? FACTOR : 1 / FACTOR, placeAt(page, event));
    },
    { passive: false },
  );
  listenToDoubleClick(page, live);
  live.addEventListener("keydown", (event) => onZoomKey(page, event), { capture: true }); // before the cell moves
  listenToDrag(page, live);
  listenToFingers(page, live);
  element("zoom-reset").addEventListener("click", () => page.go({ rows: null, columns: null }));
  element("zoom-in").addEventListener("click", () => zoom(page, 1 / FACTOR, null));
  element("zoom-out").addEventListener("click", () => zoom(page, FACTOR, null));
}

/** A double-click shows all; the cell that its first click has kept is let go again.
 * @param {Page} page @param {HTMLElement} live */
function listenToDoubleClick(page, live) {
  /** @type {{query: number | null, key: number | null}} */
  let before = { query: null, key: null };
  live.addEventListener(
    "click",
    ({ detail }) => {
      if (detail === 1) before = { query: page.state.query, key: page.state.key };
    },
    { capture: true },
  );
  live.addEventListener("dblclick", () => page.go({ rows: null, columns: null, ...before }));
}

/** @param {Page} page @param {KeyboardEvent} event */
function onZoomKey(page, event) {
  if (event.key === "+" || event.key === "=") zoom(page, 1 / FACTOR, null);
  else if (event.key === "-") zoom(page, FACTOR, null);
  else if (event.key === "0") page.go({ rows: null, columns: null });
  else if (event.shiftKey && event.key in PANS) {
    event.preventDefault();
    event.stopImmediatePropagation(); // or the kept cell would move as well
    pan(page, ...PANS[event.key]);
  }
}

/** @param {Page} page @param {number} factor @param {[number, number] | null} centre row and column */
function zoom(page, factor, centre) {
  const sides = sidesOf(page);
  if (!sides) return;
  const [rows, columns] = sides.map(({ bounds, length, kept }, side) => {
    const middle = (bounds[0] + bounds[1]) / 2;
    return zoomed(bounds, length, centre?.[side] ?? kept ?? middle, factor);
  });
  page.go({ rows, columns });
}

/** Along both sides: the window, how many places there are, and where the kept cell lies.
 * @param {Page} page */
function sidesOf(page) {
  if (!page.scene) return null;
  const { state, queries, keys, available } = page.scene;
  return [
    side(state.rows, available.queries, queries.indices, state.query),
    side(state.columns, available.keys, keys.indices, state.key),
  ];
}

/** @param {Bounds | null} window @param {number} length @param {number[]} indices
 * @param {number | null} kept */
function side(window, length, indices, kept) {
  const bounds = window ?? /** @type {Bounds} */ ([0, length - 1]);
  const place = kept === null ? -1 : indices.indexOf(kept);
  return { bounds, length, kept: place < 0 ? null : bounds[0] + place };
}

/** @param {Page} page */
function heatmapOf(page) {
  return /** @type {import("./heatmap.js").Heatmap | undefined} */ (page.views.get("heatmap"));
}

/** Where an event points to, as places before the window is cut.
 * @param {Page} page @param {{clientX: number, clientY: number}} event
 * @returns {[number, number] | null} */
function placeAt(page, event) {
  const inside = heatmapOf(page)?.cellAt(/** @type {MouseEvent} */ (event));
  return inside ? nearestTo(page, event) : null;
}

/** The same, or the nearest place where it points beside the picture.
 * @param {Page} page @param {{clientX: number, clientY: number}} event
 * @returns {[number, number] | null} */
function nearestTo(page, event) {
  const place = heatmapOf(page)?.nearest(/** @type {MouseEvent} */ (event));
  if (!place || !page.scene) return null;
  const { rows, columns } = page.scene.state;
  return [(rows?.[0] ?? 0) + place[0], (columns?.[0] ?? 0) + place[1]];
}

/** Dragging draws a frame, and what lies in it fills the picture; with Shift it moves the window.
 * @param {Page} page @param {HTMLElement} live */
function listenToDrag(page, live) {
  /** @type {{x: number, y: number, place: [number, number]} | null} */
  let from = null;
  let dragged = false;
  const far = (/** @type {PointerEvent} */ { clientX, clientY }) =>
    from !== null && Math.hypot(clientX - from.x, clientY - from.y) >= DRAG_PIXELS;
  live.addEventListener("pointerdown", (event) => {
    const place = event.pointerType === "touch" || event.button !== 0 ? null : placeAt(page, event);
    from = place && { x: event.clientX, y: event.clientY, place };
    dragged = false;
    if (from) live.setPointerCapture(event.pointerId); // a frame may be drawn past the edge
  });
  const drag = (/** @type {PointerEvent} */ event) => {
    const to = nearestTo(page, event);
    if (!from || !to) return;
    const [rows, columns] = [between(from.place[0], to[0]), between(from.place[1], to[1])];
    if (event.shiftKey) pan(page, from.place[0] - to[0], from.place[1] - to[1]);
    else if (event.type === "pointerup") page.go({ rows, columns });
    else heatmapOf(page)?.frame(rows, columns);
  };
  const move = (/** @type {PointerEvent} */ event) => {
    if (!far(event)) return;
    event.stopImmediatePropagation(); // or the cell below would be marked instead of the frame
    drag(event);
  };
  live.addEventListener("pointermove", move, { capture: true });
  live.addEventListener("pointerup", (event) => {
    dragged = far(event);
    if (dragged) drag(event);
    from = null;
  });
  live.addEventListener("pointercancel", () => {
    from = null;
    page.point(page.state.query, page.state.key);
  });
  // A drag ends with a click, which would keep a cell that nobody chose.
  live.addEventListener("click", (event) => dragged && event.stopImmediatePropagation(), { capture: true });
}

/** @param {number} a @param {number} b @returns {Bounds} */
function between(a, b) {
  return [Math.min(a, b), Math.max(a, b)];
}

/** Move the window. @param {Page} page @param {number} down @param {number} across */
function pan(page, down, across) {
  const sides = sidesOf(page);
  if (!sides || !(down || across)) return;
  const [rows, columns] = sides.map(({ bounds, length }, at) => moved(bounds, length, at ? across : down));
  page.go({ rows, columns });
}

/** Two fingers that move apart zoom in, together out, at the place between them; one finger moves a
 * zoomed picture, over which the page does not scroll (page.css).
 * @param {Page} page @param {HTMLElement} live */
function listenToFingers(page, live) {
  /** @type {Map<number, PointerEvent>} */
  const fingers = new Map();
  let apart = 0;
  /** @type {[number, number] | null} the place under a finger that moves the picture */
  let held = null;
  live.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, event);
    apart = distance(fingers);
    held = fingers.size === 1 && (page.state.rows ?? page.state.columns) ? placeAt(page, event) : null;
  });
  live.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event);
    const to = held && placeAt(page, event);
    if (held && to) pan(page, held[0] - to[0], held[1] - to[1]);
    const now = distance(fingers);
    if (!apart || !now) return;
    const ratio = now / apart;
    if (ratio > FACTOR || ratio < 1 / FACTOR) {
      apart = now;
      zoom(page, 1 / ratio, placeAt(page, midway(fingers)));
    }
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    live.addEventListener(end, (event) => {
      fingers.delete(/** @type {PointerEvent} */ (event).pointerId);
      held = null;
    });
  }
}

/** @param {Map<number, PointerEvent>} fingers */
function distance(fingers) {
  const [first, second] = [...fingers.values()];
  return second ? Math.hypot(first.clientX - second.clientX, first.clientY - second.clientY) : 0;
}

/** The place between two fingers. @param {Map<number, PointerEvent>} fingers */
function midway(fingers) {
  const [first, second] = [...fingers.values()];
  return { clientX: (first.clientX + second.clientX) / 2, clientY: (first.clientY + second.clientY) / 2 };
}
