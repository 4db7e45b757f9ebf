// @ts-check
// Text to bytes and back, and inflating. Knows nothing of pictures or weights.

/** @param {string} text base64 @returns {Uint8Array} */
export function bytesOfBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
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
