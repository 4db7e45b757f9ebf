// @ts-check
// What the page's pure modules must do. Run by Chromium always, and by Node where it is there: the
// file stands beside the modules then.
import { base64OfBytes, bytesOfText, inflate } from "./bytes.js";
import { cellNumber, errorOfWeight, rankIn, strongest, weightOfCode, weightText } from "./codes.js";
import { errorOfValue, valueOfCode } from "./maps.js";
import { PICTURE_CASES } from "./picture_cases.js";
import { adler32, codesOf, crc32, pictureOf } from "./png.js";
import { coloursOf, marksOf, placeOf, scaleWords } from "./scale.js";
import { isKept, scoreCodes, spanOf, valueAt, valueText } from "./scores.js";
import { fitted, hashOfState, stateOfHash } from "./state.js";

/** @param {unknown} got @param {unknown} expected */
function same(got, expected) {
  const [left, right] = [got, expected].map((value) =>
    JSON.stringify(value, (_, part) => {
      if (ArrayBuffer.isView(part)) return Array.from(/** @type {any} */ (part));
      return typeof part === "number" && !Number.isFinite(part) ? String(part) : part;
    }),
  );
  if (left !== right) throw new Error(`expected ${right}, got ${left}`);
}

/** @param {string} text */
const bytesOfBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** @param {string} text */
const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const SHAPES = [
  { heads: 2, queries: 3, keys: 4 },
  { heads: 1, queries: 5, keys: 5 },
];
const CHOICES = { views: ["heatmap", "text"], sorts: ["layer", "entropy"] };
/** @param {string} hash */
const state = (hash) => stateOfHash(hash, SHAPES, CHOICES, { layer: 0, heads: [1], query: null });

/** @type {Record<string, () => void | Promise<void>>} */
export const CASES = {
  "base64 is the browser's own, across the size of one call": () => {
    for (const length of [0, 1, 2, 3, 8191, 8192, 8193, 20000]) {
      const bytes = Uint8Array.from({ length }, (_, index) => (index * 7) & 0xff);
      same(bytesOfBase64(base64OfBytes(bytes)), bytes);
    }
  },
  // RFC 1924 writes 2^32 - 1 as |NsC0; Python's b85encode writes , as &.
  "base85 of known bytes": () => {
    same(bytesOfText("|NsC0"), Uint8Array.of(255, 255, 255, 255));
    same(bytesOfText("NM,qnZ!92pZ*pv8"), ascii("Hello, world"));
    same(bytesOfText("NM,qnZv"), ascii("Hello"));
    same(bytesOfText(""), new Uint8Array());
  },
  "rows filtered by Paeth": async () => {
    // zlib stream that stores two rows of three behind filter 4: residues of 5 7 6 / 9 250 7
    const lines = Uint8Array.of(4, 5, 2, 255, 4, 4, 241, 13);
    const check = adler32(lines);
    const bytes = [24, 16, 8, 0].map((shift) => (check >>> shift) & 0xff);
    const stored = Uint8Array.of(0x78, 1, 1, 8, 0, 0xf7, 0xff, ...lines, ...bytes);
    same(await codesOf(stored, 2, 3), Uint8Array.of(5, 7, 6, 9, 250, 7));
  },
  // Check values of the algorithms' own documents.
  "crc-32 of 123456789": () => same(crc32(ascii("123456789")), 0xcbf43926),
  "adler-32 of Wikipedia": () => same(adler32(ascii("Wikipedia")), 0x11e60398),
  "adler-32 of much": () => same(adler32(new Uint8Array(20000).fill(255)), 0x9f51d664),
  "a picture holds its codes": async () => {
    for (const [rows, columns] of [[1, 1], [3, 2], [300, 300]]) {
      const codes = Uint8Array.from({ length: rows * columns }, (_, index) => index % 251);
      const png = bytesOfBase64(pictureOf(codes, rows, columns, new Uint8Array(768)).slice(22));
      const at = 8 + 25 + 12 + 768; // signature, IHDR, PLTE
      const length = new DataView(png.buffer).getUint32(at);
      same(await codesOf(png.slice(at + 8, at + 8 + length), rows, columns), codes);
    }
  },
  "a filtered row is refused": async () => {
    // zlib stream that stores one row: filter 1, one code
    const stored = Uint8Array.of(0x78, 1, 1, 2, 0, 0xfd, 0xff, 1, 9, 0, 0x0d, 0, 0x0b);
    same(await inflate(stored), Uint8Array.of(1, 9));
    let message = "";
    await codesOf(stored, 1, 1).catch((error) => (message = error.message));
    same(message, "row 0 of a picture has filter 1");
  },
  "codes are even in the root": () => {
    same([0, 127, 254].map((code) => weightOfCode(code, 255)), [0, 0.25, 1]);
    same(weightOfCode(255, 255), NaN);
  },
  "the error covers every weight of a code": () => {
    for (const levels of [64, 255]) {
      for (let step = 0; step <= 1000; step += 1) {
        const weight = step / 1000;
        const code = Math.round(Math.sqrt(weight) * (levels - 1));
        const read = weightOfCode(code, levels);
        if (Math.abs(read - weight) > errorOfWeight(read, levels) + 1e-12) {
          throw new Error(`${weight} is read as ${read} ± ${errorOfWeight(read, levels)}`);
        }
      }
    }
  },
  "weights in words": () => {
    same(
      [0, 1, 0.123449, 0.00001, 0.0001, NaN, Infinity].map((weight) => weightText(weight, 0)),
      ["0.0000", "1.0000", "0.1234", "< 0.0001", "0.0001", "NaN", "infinite"],
    );
    same(weightText(0.25, 0.002), "0.2500 ± 0.0020");
    same(weightText(0.25, 0.02), "0.250 ± 0.020");
  },
  "numbers in cells": () => {
    same([0, 0.004, 0.005, 0.5, 1, NaN].map(cellNumber), ["", "", ".01", ".50", "1.00", "NaN"]);
  },
  "a score's colour goes over all its measure can take, or took": () => {
    const values = [[0.25, null], [3, 1]];
    same(spanOf({ name: "a", range: [0, null], values }), { low: 0, high: 3 });
    same(spanOf({ name: "a", range: [0, 1], values: [[0.25, null]] }), { low: 0, high: 1 });
    same(spanOf({ name: "a", range: [0, null], values: [[null]] }), { low: 0, high: 0 });
    const cells = values.flatMap((row, at) =>
      row.map((value, column) => ({ layer: at, head: column, at: 0, column, row: at, value, kept: value !== 1 })),
    );
    const grid = { columns: 2, rows: 2, cells, columnLabels: [], rowLabels: [], named: false };
    same(scoreCodes(grid, { low: 0, high: 3 }, 8), Uint8Array.of(1, 8, 6, 7));
    same(scoreCodes(grid, { low: 0, high: 0 }, 8), Uint8Array.of(0, 8, 0, 7));
  },
  "the filter keeps all at 0, and no head without a score above": () => {
    const span = { low: -1, high: 1 };
    same(valueAt(span, 75), 0.5);
    same([0.5, 0.49, null].map((value) => isKept(value, span, 75)), [true, false, false]);
    same([-1, null].map((value) => isKept(value, span, 0)), [true, true]);
    same([0.251, 0, 12.3, null].map(valueText), [".25", ".00", "12", "–"]);
  },
  "strongest first, what is not a number before, ties in order": () => {
    same(strongest(Float32Array.of(0.2, 0.5, NaN, 0.5), 3), [2, 1, 3]);
    same(strongest(new Float32Array(), 3), []);
  },
  "rank counts what is larger": () => {
    const row = Float32Array.of(0.2, 0.5, 0.5, 0.1);
    same([0, 1, 2, 3].map((at) => rankIn(row, at)), [3, 1, 1, 4]);
  },
  "scales run from 0 to 1": () => {
    for (const scale of /** @type {const} */ (["sqrt", "linear", "log"])) {
      same([placeOf(scale, 0), placeOf(scale, 1), placeOf(scale, 1.00001)], [0, 1, 1]);
      const places = Array.from({ length: 101 }, (_, step) => placeOf(scale, step / 100));
      if (places.some((place, at) => at && place < places[at - 1])) throw new Error(scale);
    }
    same(placeOf("sqrt", 0.25), 0.5);
    same(placeOf("log", 0.01), 0.5);
  },
  "each row to its largest": () => {
    const matrix = { rows: 3, columns: 2, values: Float32Array.of(0.5, 0.25, 0, 0, NaN, 0.1) };
    same(coloursOf(matrix, "linear", "row", 101), Uint8Array.of(100, 50, 0, 0, 101, 100));
    same(coloursOf(matrix, "linear", "fixed", 101), Uint8Array.of(50, 25, 0, 0, 101, 10));
  },
  "values of both signs lie on both sides of the middle": () => {
    const extent = { top: 4, signed: true };
    for (const scale of /** @type {const} */ (["sqrt", "linear", "log"])) {
      same([-9, -4, 0, 4, 9].map((value) => placeOf(scale, value, extent)), [0, 0, 0.5, 1, 1]);
    }
    same([-1, 1].map((value) => placeOf("sqrt", value, extent)), [0.25, 0.75]);
    const matrix = { rows: 2, columns: 2, values: Float32Array.of(-2, 4, NaN, -1) };
    same(coloursOf(matrix, "linear", "fixed", 101, extent), Uint8Array.of(25, 100, 101, 38));
    same(coloursOf(matrix, "linear", "row", 101, extent), Uint8Array.of(25, 100, 101, 0));
  },
  "marks stand where their values lie": () => {
    const values = (/** @type {any} */ scale, /** @type {any} */ extent) =>
      marksOf(scale, extent).map(({ label }) => label).join(" ");
    same(values("linear", { top: 4, signed: false }), "0 1 2 3 4");
    same(values("linear", { top: 4, signed: true }), "−4 −2 0 2 4");
    same(values("sqrt", { top: 1 / 3, signed: true }), "−0.333 −0.1 −0.0167 0 0.0167 0.1 0.333");
    const places = marksOf("sqrt", { top: 4, signed: true }).map(({ place }) => place);
    same(places[0], 0);
    same(places[1], placeOf("sqrt", -1.2, { top: 4, signed: true }));
    same(scaleWords("linear", "fixed", { top: 12.345, signed: true }, "value"),
      "colour: value, from −12.3 to 12.3, linear scale");
    same(scaleWords("sqrt", "fixed"), "colour: weight, from 0 to 1, √ scale");
  },
  "a map's code tells its value, to its error": () => {
    for (const signed of [false, true]) {
      const map = /** @type {any} */ ({ exact: false, levels: 255, top: 3, signed });
      const middle = signed ? 127 : 0;
      for (let step = signed ? -1000 : 0; step <= 1000; step += 1) {
        const value = (3 * step) / 1000;
        const root = Math.sign(step) * Math.sqrt(Math.abs(step) / 1000);
        const read = valueOfCode(map, middle + Math.round(root * (254 - middle)));
        if (Math.abs(read - value) > errorOfValue(map, read) + 1e-9) {
          throw new Error(`${value} is read as ${read} ± ${errorOfValue(map, read)}`);
        }
      }
      same(valueOfCode(map, 255), NaN);
      same(errorOfValue({ ...map, exact: true }, 2), 0);
    }
  },
  "of a map one variant at a time is shown": () => {
    const shapes = [...SHAPES, { heads: 3, single: true, queries: 3, keys: 4 }];
    const shown = stateOfHash("#map=0&head=1,2", shapes, CHOICES, { layer: 0, heads: [1], query: null });
    same([shown.layer, shown.heads], [2, [1]]);
    same(hashOfState(shown, shapes), "#map=0&head=1");
    same(fitted({ ...shown, heads: [0, 2] }, shapes[2]).heads, [0]);
    for (const hash of ["#layer=2", "#map=1", "#map=x"]) {
      same(stateOfHash(hash, shapes, CHOICES, { layer: 0, heads: [1], query: null }).layer, 0);
    }
  },
  "an address has the numbers that a selection left": () => {
    const shapes = [{ ...SHAPES[0], number: 3, numbers: [5, 1] }, { ...SHAPES[1], number: 7, numbers: [4] }];
    const opened = (/** @type {string} */ hash) =>
      stateOfHash(hash, shapes, CHOICES, { layer: 0, heads: [0], query: null });
    same([opened("#layer=7&head=4").layer, opened("#layer=7&head=4").heads], [1, [0]]);
    same([opened("#layer=3&head=1,5").heads, opened("#layer=1&head=0").layer], [[0, 1], 0]);
    same(opened("#layer=3&head=0").heads, [0]);
    for (const hash of ["#layer=7&head=4", "#layer=3&head=1", "#layer=3&head=5,1"]) {
      same(hashOfState(opened(hash), shapes), hash);
    }
  },
  "an empty address shows the plain state": () => {
    same(hashOfState(state(""), SHAPES), "#layer=0&head=1");
    same(state(""), state("#x=1&layer&="));
  },
  "an address goes there and back": () => {
    const address = "#layer=1&head=0&view=text&sort=entropy&scale=log&sinks=hidden&query=4&key=0";
    same(hashOfState(state(address), SHAPES).split("&").sort(), address.split("&").sort());
    same(state(hashOfState(state(address), SHAPES)), state(address));
  },
  "several heads are sorted, once each, and known": () => {
    same(state("#head=1,0,1,7,x").heads, [0, 1]);
    same(state("#head=7").heads, [1]);
    same(state("#head=").heads, [1]);
  },
  "nonsense in an address is as if absent": () => {
    for (const hash of ["#layer=2", "#layer=-1", "#layer=0x1", "#layer= 1", "#layer=1e0", "#%%%"]) {
      same(state(hash).layer, 0);
    }
    const pictured = [{ ...SHAPES[0], view: "text" }, SHAPES[1]];
    const opened = (/** @type {string} */ hash) => stateOfHash(hash, pictured, CHOICES, { layer: 0, heads: [1], query: 2 });
    same([opened("").view, opened("#layer=1").view, opened("#view=heatmap").view], ["text", "heatmap", "heatmap"]);
    same([opened("").query, opened("#layer=0").query], [2, null]);
    same([opened("#layer=0").heads, opened("#head=0").heads, opened("#layer=7").heads], [[0], [0], [1]]);
    same(hashOfState(opened(""), pictured), "#layer=0&head=1&query=2");
    for (const hash of ["#view=constructor", "#view=__proto__", "#view=", "#view=Heatmap"]) {
      same(state(hash).view, "heatmap");
    }
    same(state("#query=3&key=4").query, null);
    same(state("#query=2&key=3").key, 3);
  },
  "another layer keeps only what fits it": () => {
    const before = { ...state("#query=2&key=3&head=0,1"), layer: 1 };
    same(fitted(before, { heads: 1, queries: 2, keys: 4 }).heads, [0]);
    same(fitted(before, { heads: 1, queries: 2, keys: 4 }).query, null);
    same(fitted(before, { heads: 1, queries: 2, keys: 4 }).key, 3);
  },
  ...PICTURE_CASES,
};
