// @ts-check
// Colours by code, as the document tells them, and what can be read on them.

/** @param {string} hexadecimal @returns {Uint8Array} 3 bytes a colour */
export function paletteOf(hexadecimal) {
  return Uint8Array.from(hexadecimal.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Black or white, whichever is read better on the colour of a code: its contrast is at least 4.5.
 * @param {Uint8Array} palette @param {number} code */
export function inkOn(palette, code) {
  const [red, green, blue] = Array.from(palette.subarray(code * 3, code * 3 + 3), (part) => (part / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 ? "#ffffff" : "#000000";
}
