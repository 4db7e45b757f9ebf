// @ts-check
// Read and recolour the indexed PNGs that carry the weights. Values are read from the file itself,
// never from a canvas: privacy browsers add noise to what a canvas gives back.
import { inflate } from "./bytes.js";

/** @typedef {{type: string, start: number, length: number}} Chunk position of a chunk's content */

/** @param {Uint8Array} png @returns {Chunk[]} */
export function chunksOf(png) {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const chunks = [];
  for (let at = 8; at < png.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...png.subarray(at + 4, at + 8));
    chunks.push({ type, start: at + 8, length });
    at += length + 12;
  }
  return chunks;
}

/**
 * Read the code of every pixel.
 * @param {Uint8Array} png
 * @returns {Promise<{rows: number, columns: number, codes: Uint8Array}>}
 */
export async function decodeIndexed(png) {
  const chunks = chunksOf(png);
  const header = new DataView(png.buffer, png.byteOffset + chunks[0].start, 13);
  const columns = header.getUint32(0);
  const rows = header.getUint32(4);
  const parts = chunks.filter((chunk) => chunk.type === "IDAT");
  const packed = new Uint8Array(parts.reduce((total, chunk) => total + chunk.length, 0));
  let at = 0;
  for (const { start, length } of parts) {
    packed.set(png.subarray(start, start + length), at);
    at += length;
  }
  return { rows, columns, codes: unfiltered(await inflate(packed), rows, columns) };
}

/**
 * Take away the filter byte in front of every row. Indexed pictures are written with filter 0.
 * @param {Uint8Array} lines @param {number} rows @param {number} columns
 */
function unfiltered(lines, rows, columns) {
  const codes = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    const start = row * (columns + 1);
    if (lines[start] !== 0) throw new Error(`row ${row} of a picture has filter ${lines[start]}`);
    codes.set(lines.subarray(start + 1, start + 1 + columns), row * columns);
  }
  return codes;
}

/**
 * Give the picture another palette; no pixel is touched.
 * @param {Uint8Array} png @param {Uint8Array} palette 3 bytes a colour
 * @returns {Uint8Array}
 */
export function recoloured(png, palette) {
  const copy = png.slice();
  const chunk = chunksOf(copy).find(({ type }) => type === "PLTE");
  if (!chunk || chunk.length !== palette.length) throw new Error("the palette does not fit");
  copy.set(palette, chunk.start);
  const check = crc32(copy.subarray(chunk.start - 4, chunk.start + chunk.length));
  new DataView(copy.buffer).setUint32(chunk.start + chunk.length, check);
  return copy;
}

/** CRC-32 of PNG (ISO 3309), over a chunk's type and content. @param {Uint8Array} bytes */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
