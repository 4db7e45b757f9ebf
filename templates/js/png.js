// @ts-check
// An indexed PNG around the codes of a head. Values are read from the codes themselves, never from
// a canvas: privacy browsers add noise to what a canvas gives back.
import { inflate } from "./bytes.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * Put a PNG's frame and a palette around image data.
 * @param {Uint8Array} imageData deflated rows of codes, each behind its filter byte
 * @param {number} rows @param {number} columns
 * @param {Uint8Array} palette 3 bytes a colour
 * @returns {Uint8Array}
 */
export function indexedPng(imageData, rows, columns, palette) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, columns);
  view.setUint32(4, rows);
  header.set([8, 3, 0, 0, 0], 8); // 8 bits a pixel, indexed, deflate, no interlace
  return concatenated([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("PLTE", palette),
    chunk("IDAT", imageData),
    chunk("IEND", new Uint8Array()),
  ]);
}

/**
 * Read the code of every pixel.
 * @param {Uint8Array} imageData @param {number} rows @param {number} columns
 * @returns {Promise<Uint8Array>}
 */
export async function codesOf(imageData, rows, columns) {
  const lines = await inflate(imageData);
  const codes = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    const start = row * (columns + 1);
    if (lines[start] !== 0) throw new Error(`row ${row} of a picture has filter ${lines[start]}`);
    codes.set(lines.subarray(start + 1, start + 1 + columns), row * columns);
  }
  return codes;
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
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}
