// @ts-check
// Indexed PNGs: read the codes of a packed head, and make a picture of codes. Values are read from
// the bytes themselves, never from a canvas: privacy browsers add noise to what a canvas gives back.
import { base64OfBytes, inflate } from "./bytes.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const STORED_BLOCK = 65535;
const PAETH = 4;

/**
 * Read the code of every pixel of a packed head.
 * @param {Uint8Array} imageData deflated rows of codes, each behind a filter byte of 0 or 4 (Paeth)
 * @param {number} rows @param {number} columns
 * @returns {Promise<Uint8Array>}
 */
export async function codesOf(imageData, rows, columns) {
  const lines = await inflate(imageData);
  const codes = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    const start = row * (columns + 1);
    const line = lines.subarray(start + 1, start + 1 + columns);
    if (lines[start] === PAETH) undoPaeth(line, codes, row * columns);
    else if (lines[start] === 0) codes.set(line, row * columns);
    else throw new Error(`row ${row} of a picture has filter ${lines[start]}`);
  }
  return codes;
}

/** Add to a line what its neighbours foretell (PNG, section 9.4), into `codes` from `start` on.
 * @param {Uint8Array} line @param {Uint8Array} codes rows above are there @param {number} start */
function undoPaeth(line, codes, start) {
  const first = start < line.length;
  let left = 0;
  let corner = 0;
  for (let column = 0; column < line.length; column += 1) {
    const above = first ? 0 : codes[start - line.length + column];
    const toLeft = Math.abs(above - corner);
    const toAbove = Math.abs(left - corner);
    const toCorner = Math.abs(left + above - 2 * corner);
    let foretold = toAbove <= toCorner ? above : corner;
    if (toLeft <= toAbove && toLeft <= toCorner) foretold = left;
    left = (line[column] + foretold) & 0xff;
    codes[start + column] = left;
    corner = above;
  }
}

/**
 * Make a picture with one pixel per code.
 * @param {Uint8Array} codes @param {number} rows @param {number} columns
 * @param {Uint8Array} palette 3 bytes a colour
 * @param {Uint8Array} [alphas] how much each colour covers, 0 to 255; without it, all of them fully
 * @returns {string} a data: URL
 */
export function pictureOf(codes, rows, columns, palette, alphas) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, columns);
  view.setUint32(4, rows);
  header.set([8, 3, 0, 0, 0], 8); // 8 bits a pixel, indexed, deflate, no interlace
  const png = concatenated([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("PLTE", palette),
    ...(alphas ? [chunk("tRNS", alphas)] : []),
    chunk("IDAT", stored(linesOf(codes, rows, columns))),
    chunk("IEND", new Uint8Array()),
  ]);
  return `data:image/png;base64,${base64OfBytes(png)}`;
}

/** @param {Uint8Array} codes @param {number} rows @param {number} columns */
function linesOf(codes, rows, columns) {
  const lines = new Uint8Array(rows * (columns + 1));
  for (let row = 0; row < rows; row += 1) {
    lines.set(codes.subarray(row * columns, (row + 1) * columns), row * (columns + 1) + 1);
  }
  return lines;
}

/** A zlib stream that stores its bytes as they are (RFC 1950, RFC 1951 section 3.2.4): the picture
 * lives for as long as it is shown, so packing it would only take time. @param {Uint8Array} bytes */
function stored(bytes) {
  /** @type {Uint8Array[]} */
  const parts = [Uint8Array.of(0x78, 0x01)];
  for (let start = 0; start < bytes.length; start += STORED_BLOCK) {
    const block = bytes.subarray(start, start + STORED_BLOCK);
    const last = start + STORED_BLOCK >= bytes.length ? 1 : 0;
    const [low, high] = [block.length & 0xff, block.length >> 8];
    parts.push(Uint8Array.of(last, low, high, ~low & 0xff, ~high & 0xff), block);
  }
  const check = new Uint8Array(4);
  new DataView(check.buffer).setUint32(0, adler32(bytes));
  return concatenated([...parts, check]);
}

/** @param {string} type @param {Uint8Array} content */
function chunk(type, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(Uint8Array.from(type, (letter) => letter.charCodeAt(0)), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

/** @param {Uint8Array[]} parts */
function concatenated(parts) {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

/** CRC-32 of PNG (ISO 3309), over a chunk's type and content. @param {Uint8Array} bytes */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at += 1) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[at]) & 0xff];
  return ~crc >>> 0;
}

/** Adler-32 of zlib (RFC 1950, section 8.2). @param {Uint8Array} bytes */
export function adler32(bytes) {
  let low = 1;
  let high = 0;
  for (let start = 0; start < bytes.length; start += 5552) {
    // 5552 is the most bytes whose sums stay below 2**32 without a division at each.
    for (let at = start; at < Math.min(bytes.length, start + 5552); at += 1) {
      low += bytes[at];
      high += low;
    }
    low %= 65521;
    high %= 65521;
  }
  return ((high << 16) | low) >>> 0;
}
