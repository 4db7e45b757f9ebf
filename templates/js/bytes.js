// @ts-check
// Text to bytes and back, and inflating. Knows nothing of pictures or weights.

const DIGITS =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%,()*+-;.=/?@^_:{|}~";
const VALUES = Uint8Array.from({ length: 128 }, (_, code) =>
  Math.max(0, DIGITS.indexOf(String.fromCharCode(code))),
);

/** @param {string} text that of attnreport/page/base85.py @returns {Uint8Array} */
export function bytesOfText(text) {
  const missing = (5 - (text.length % 5)) % 5;
  const whole = text + "~".repeat(missing); // the largest digit
  const bytes = new Uint8Array((whole.length / 5) * 4);
  for (let from = 0, at = 0; from < whole.length; from += 5, at += 4) {
    let number = 0;
    for (let digit = 0; digit < 5; digit += 1) {
      number = number * 85 + VALUES[whole.charCodeAt(from + digit)];
    }
    bytes[at] = number >>> 24;
    bytes[at + 1] = number >>> 16;
    bytes[at + 2] = number >>> 8;
    bytes[at + 3] = number;
  }
  return bytes.subarray(0, bytes.length - missing);
}

const BASE64 = new TextEncoder().encode(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
);
const PADDING = 61; // "="

/** @param {Uint8Array} bytes @returns {string} base64 */
export function base64OfBytes(bytes) {
  // Letters are written as bytes and read as one text: several times as quick as btoa, which wants a
  // text of its own first.
  const letters = new Uint8Array(4 * Math.ceil(bytes.length / 3));
  for (let from = 0, at = 0; from < bytes.length; from += 3, at += 4) {
    const three = (bytes[from] << 16) | (bytes[from + 1] << 8) | bytes[from + 2];
    letters[at] = BASE64[three >> 18];
    letters[at + 1] = BASE64[(three >> 12) & 63];
    letters[at + 2] = BASE64[(three >> 6) & 63];
    letters[at + 3] = BASE64[three & 63];
  }
  const missing = (3 - (bytes.length % 3)) % 3;
  return new TextDecoder().decode(letters.fill(PADDING, letters.length - missing));
}

/** @param {Uint8Array} bytes zlib stream @returns {Promise<Uint8Array>} */
export async function inflate(bytes) {
  // A response's body stays in this process, where a blob's makes its way through another one.
  const body = /** @type {ReadableStream} */ (new Response(/** @type {BodyInit} */ (bytes)).body);
  const stream = body.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
