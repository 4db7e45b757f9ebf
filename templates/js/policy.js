// @ts-check
// What this page lets in: Vega, which travels deflated, and no markup. Its policy names Vega's hash,
// and where the browser enforces Trusted Types nothing else may become a script.
import { bytesOfBase64, inflate } from "./bytes.js";
import { readJson } from "./weights.js";

/** Run Vega, and from then on let no text become a script and markup be emptied only: vegaEmbed
 * clears its element with innerHTML = "". */
export async function runVega() {
  const library = new TextDecoder().decode(await inflate(bytesOfBase64(readJson("vega"))));
  const { trustedTypes } = /** @type {any} */ (window);
  trustedTypes?.createPolicy("default", {
    createHTML: (/** @type {string} */ markup) => (markup === "" ? "" : null),
    createScript: (/** @type {string} */ source) => (source === library ? source : null),
  });
  const script = document.createElement("script");
  script.textContent = library;
  document.head.append(script); // runs at once
  script.remove();
}
