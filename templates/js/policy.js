// @ts-check
// Where the browser enforces Trusted Types, markup may only be emptied, never written.

/** vegaEmbed clears its element with innerHTML = ""; nothing else here touches markup. */
export function allowOnlyEmptyMarkup() {
  const { trustedTypes } = /** @type {any} */ (window);
  trustedTypes?.createPolicy("default", {
    createHTML: (/** @type {string} */ markup) => (markup === "" ? "" : null),
  });
}
