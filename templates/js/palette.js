// @ts-check
// Colours by code, as the document tells them, and what can be read on them.

/** @param {string} hexadecimal @returns {Uint8Array} 3 bytes a colour */
export function paletteOf(hexadecimal) {
  return Uint8Array.from(hexadecimal.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** The colour of letters on the colour of a code. @param {Uint8Array} palette @param {number} code */
export function inkOn(palette, code) {
  const [red, green, blue] = palette.subarray(code * 3, code * 3 + 3);
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140 ? "#ffffff" : "#15151c";
}
