// @ts-check
// Runs the page's scripts, which travel deflated: Vega, and our own modules joined to one. The
// page's policy names their hashes, and where the browser enforces Trusted Types nothing else may
// become a script from then on.
import { bytesOfText, inflate } from "./bytes.js";

async function run() {
  const [vega, own] = JSON.parse(document.getElementById("scripts")?.textContent ?? "[]");
  const sources = await Promise.all([vega, own].map(inflated));
  const { trustedTypes } = /** @type {any} */ (window);
  trustedTypes?.createPolicy("default", {
    // vegaEmbed clears its element with innerHTML = ""; nothing else here touches markup.
    createHTML: (/** @type {string} */ markup) => (markup === "" ? "" : null),
    createScript: (/** @type {string} */ source) => (sources.includes(source) ? source : null),
  });
  add(sources[0], "text/javascript");
  add(sources[1], "module");
}

/** @param {string} text */
async function inflated(text) {
  return new TextDecoder().decode(await inflate(bytesOfText(text)));
}

/** @param {string} source @param {string} type */
function add(source, type) {
  const script = document.createElement("script");
  script.type = type;
  script.textContent = source;
  document.head.append(script);
}

run();
