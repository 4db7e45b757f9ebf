// @ts-check
// What the modules of the picture view must do: contours, interpolation, panels, stepping.
import { gridOf } from "./boxes.js";
import { holding, isolines, outlines } from "./contours.js";
import { interpolated, mapOf, smoothness } from "./smoothing.js";
import { laidOut, ticksOf } from "./panels.js";
import { marksOf } from "./scale.js";
import { neighbour } from "./stepping.js";
import { csvOfTable } from "./taking.js";

/** @param {number} columns @param {number} rows @param {number} [side] */
const boxesOf = (columns, rows, side = 10) =>
  Array.from({ length: rows * columns }, (_, index) => {
    const [x, y] = [(index % columns) * side, Math.floor(index / columns) * side];
    return /** @type {import("./boxes.js").Box} */ ([x, y, x + side, y + side]);
  });

/** @param {unknown} got @param {unknown} expected */
function alike(got, expected) {
  const [left, right] = [got, expected].map((value) =>
    JSON.stringify(value, (_, part) => (ArrayBuffer.isView(part) ? Array.from(/** @type {any} */ (part)) : part)),
  );
  if (left !== right) throw new Error(`expected ${right}, got ${left}`);
}

/** @param {number} got @param {number} expected @param {number} within */
function near(got, expected, within) {
  if (!(Math.abs(got - expected) <= within)) throw new Error(`expected ${expected}, got ${got}`);
}

/** @param {import("./contours.js").Segment[]} segments */
const lengthOf = (segments) =>
  segments.reduce((sum, { x0, y0, x1, y1 }) => sum + Math.hypot(x1 - x0, y1 - y0), 0);

/** @type {Record<string, () => void | Promise<void>>} */
export const PICTURE_CASES = {
  "the fewest patches that hold half": () => {
    const boxes = [null, ...boxesOf(2, 2)];
    const values = Float32Array.of(0.5, 0.0625, 0.25, 0.125, 0.0625);
    const half = holding(values, boxes, 0.5);
    alike([...half.members], [2]); // 0.25 of the 0.5 that patches have; the first has no box
    near(half.level, (0.25 + 0.125) / 2, 1e-7);
    alike([...holding(values, boxes, 0.8).members], [2, 3, 1]);
    alike([...holding(new Float32Array(5), boxes, 0.5).members], []);
  },
  "the outline of patches leaves out what lies between them": () => {
    const boxes = boxesOf(4, 3);
    near(lengthOf(outlines(boxes, new Set([5]))), 40, 0);
    near(lengthOf(outlines(boxes, new Set([5, 6]))), 60, 0);
    near(lengthOf(outlines(boxes, new Set([0, 1, 4, 5]))), 80, 0);
    near(lengthOf(outlines(boxes, new Set([0, 5]))), 80, 0); // they touch at a corner only
    alike(outlines(boxes, new Set()), []);
  },
  "a contour of distance is a circle": () => {
    const boxes = boxesOf(40, 40, 1);
    const grid = /** @type {any} */ (gridOf(boxes));
    const distance = ([x0, y0, x1, y1] = boxes[0]) => Math.hypot((x0 + x1) / 2 - 20, (y0 + y1) / 2 - 20);
    const values = Float32Array.from(boxes, (box) => 100 - distance(box));
    const circle = isolines(values, grid, 100 - 12);
    near(lengthOf(circle), 2 * Math.PI * 12, 0.4);
    for (const { x0, y0 } of circle) near(Math.hypot(x0 - 20, y0 - 20), 12, 0.05);
  },
  "contours of a saddle keep high corners apart where the middle is low": () => {
    const grid = /** @type {any} */ (gridOf(boxesOf(2, 2)));
    for (const [values, apart] of /** @type {[number[], boolean][]} */ ([[[1, 0, 0, 1], true], [[1, 0.8, 0.8, 1], false]])) {
      const level = apart ? 0.6 : 0.85;
      const lines = isolines(Float32Array.from(values), grid, level)
        .filter(({ x0, y0, x1, y1 }) => [x0, y0, x1, y1].every((at) => at >= 5 && at <= 15));
      alike(lines.length, 2);
      // A line that cuts off the upper left corner has both ends on its two sides.
      const cuts = lines.some(({ x0, y0, x1, y1 }) => Math.min(x0, x1) === 5 && Math.min(y0, y1) === 5);
      alike(cuts, apart);
    }
  },
  "a plane is interpolated to a plane, and not past the outer middles": () => {
    const [rows, columns, factor] = [3, 4, 5];
    const values = Float32Array.from({ length: 12 }, (_, at) => 2 * (at % 4) + 3 * Math.floor(at / 4));
    const finer = interpolated(values, rows, columns, factor);
    const place = (/** @type {number} */ step, /** @type {number} */ count) =>
      Math.min(count - 1, Math.max(0, (step + 0.5) / factor - 0.5));
    finer.forEach((value, at) => {
      const [x, y] = [place(at % 20, columns), place(Math.floor(at / 20), rows)];
      near(value, 2 * x + 3 * y, 1e-5);
    });
    alike(interpolated(values, rows, columns, 1), values);
    for (const [down, across] of [[1, 1], [14, 14], [37, 37], [500, 700]]) {
      const steps = smoothness(down, across);
      if (steps < 1 || (steps > 1 && steps ** 2 * down * across > 1 << 17)) throw new Error(String(steps));
    }
  },
  "a map is a row, a column, or the mean of rows": () => {
    const matrix = { rows: 2, columns: 3, values: Float32Array.of(0.5, 0.25, 0.25, 0, 0.5, 0.5) };
    alike(mapOf(matrix, "keys", 1), [0, 0.5, 0.5]);
    alike(mapOf(matrix, "keys", null), [0.25, 0.375, 0.375]);
    alike(mapOf(matrix, "queries", 1), [0.25, 0.5]);
    alike(mapOf(matrix, "queries", null), [0, 0]);
  },
  "panels are as large as room allows, and none lies on another": () => {
    for (const count of [1, 2, 4, 12, 16]) {
      for (const picture of [{ width: 100, height: 100 }, { width: 60, height: 300 }, { width: 300, height: 50 }]) {
        const room = { width: 640, height: 900 };
        const { panels, across, down, size } = laidOut(count, picture, room, true);
        alike(panels.length, count);
        if (across * size > room.width + 1e-6) throw new Error(`${across * size} pixels wide`);
        if (down * size > room.height + 1e-6) throw new Error(`${down * size} pixels high`);
        panels.forEach((one, at) => {
          const apart = panels.every((other, nth) => nth === at ||
            Math.abs(one.x - other.x) >= picture.width || Math.abs(one.y - other.y) >= picture.height);
          if (!apart) throw new Error(`panel ${at} lies on another`);
        });
      }
    }
  },
  "panels that would be hardly larger in a column lie two by two": () => {
    alike(laidOut(4, { width: 278, height: 185 }, { width: 618, height: 960 }, true).columns, 2);
    alike(laidOut(4, { width: 278, height: 185 }, { width: 310, height: 960 }, true).columns, 1);
  },
  "marks along a side are round, and begin anew with each panel": () => {
    alike(ticksOf(100, 2, [0]).map(({ value }) => value), [0, 50, 100]);
    alike(ticksOf(100, 2, [0, 110]).map(({ label }) => label), ["0", "50", "100", "0", "50", "100"]);
    alike(ticksOf(100, 2, [0, 110])[4].value, 160);
    alike(ticksOf(3, 8, [0]).map(({ value }) => value), [0]);
  },
  "marks beside a sound are round in what it measures, and lie where that is": () => {
    const time = { first: 0, last: 1.5, before: "", after: " s" };
    const marks = ticksOf(1000, 0.5, [0], time);
    alike(marks.map(({ label }) => label), ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1 s", "1.2 s", "1.4 s"]);
    alike(Math.round(marks[5].value), 667);
    const bins = { first: 20, last: 0, before: "bin ", after: "" };
    alike(ticksOf(320, 0.5, [0], bins), [
      { value: 320, label: "bin 0" }, { value: 160, label: "bin 10" }, { value: 0, label: "bin 20" },
    ]);
  },
  "arrows lead to the patch beside, or stay at the edge": () => {
    const boxes = [null, null, ...boxesOf(3, 2)];
    const walk = (/** @type {number | null} */ from, /** @type {string[]} */ ...keys) =>
      keys.reduce((at, key) => neighbour(key, at, boxes), from);
    alike(walk(2, "ArrowRight"), 3);
    alike(walk(2, "ArrowDown"), 5);
    alike(walk(7, "ArrowLeft", "ArrowUp"), 3);
    alike(walk(2, "ArrowLeft"), 2);
    alike(walk(2, "ArrowUp"), 2);
    alike(walk(null, "ArrowDown"), 0);
    alike(walk(0, "ArrowRight", "ArrowRight"), 2); // through what has no place, into the picture
    alike(walk(2, "PageUp", "PageUp", "PageUp"), 0);
    alike(walk(6, "PageDown", "PageDown"), 7);
    alike([walk(4, "Home"), walk(4, "End"), walk(4, "x")], [0, 7, null]);
  },
  "the colour bar of one map has its weights": () => {
    const labels = marksOf("linear", { top: 0.2, signed: false }).map(({ label }) => label);
    alike(labels, ["0", "0.05", "0.1", "0.15", "0.2"]);
    // Long numbers have room for fewer, and the last is always one of them.
    const long = marksOf("sqrt", { top: 0.0984, signed: false }).map(({ label }) => label);
    alike(long, ["0", "0.00492", "0.0295", "0.0984"]);
  },
  "a table of places": () => {
    const rows = [{ label: "=cls", values: [null, 0.25] }, { label: "a,b", values: [1.5, 0] }];
    alike(csvOfTable({ columns: ["x0", "weight"], rows }), ",x0,weight\r\n'=cls,,0.25\r\n\"a,b\",1.5,0\r\n");
  },
};
