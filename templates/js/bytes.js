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

/** @param {Uint8Array} bytes @returns {string} base64 */
export function base64OfBytes(bytes) {
  const parts = [];
  // String.fromCharCode takes its bytes as arguments, and engines bound how many there may be.
  for (let start = 0; start < bytes.length; start += 8192) {
    parts.push(String.fromCharCode(...bytes.subarray(start, start + 8192)));
  }
  return btoa(parts.join(""));
}

/** @param {Uint8Array} bytes zlib stream @returns {Promise<Uint8Array>} */
export async function inflate(bytes) {
  const stream = new Blob([/** @type {BlobPart} */ (bytes)])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
