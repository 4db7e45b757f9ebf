// @ts-check
// SVG that the page makes itself: shapes, and a drawing as text or as the URL of a picture.
import { base64OfBytes } from "./bytes.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name @param {Record<string, string | number | undefined>} attributes */
export function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    const text = typeof value === "number" ? String(Math.round(value * 100) / 100) : value;
    if (key === "xml:space") node.setAttributeNS("http://www.w3.org/XML/1998/namespace", key, text);
    else node.setAttribute(key, text);
  }
  return node;
}

/** @param {Element} drawing */
export function svgText(drawing) {
  return new XMLSerializer().serializeToString(drawing);
}

/** @param {Element} drawing */
export function svgUrl(drawing) {
  return `data:image/svg+xml;base64,${base64OfBytes(new TextEncoder().encode(svgText(drawing)))}`;
}
