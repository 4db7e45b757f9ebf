// @ts-check
// The few things the page does with elements. Text goes in as text, never as markup.

/** @param {string} id @returns {HTMLElement} */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/** @param {string} id @returns {HTMLSelectElement} */
export function picker(id) {
  return /** @type {HTMLSelectElement} */ (element(id));
}

/** @param {HTMLElement} parent @param {(Node | string)[]} children */
export function filled(parent, children) {
  parent.replaceChildren(...children);
}

/** @param {string} tag @param {string} text @param {string} [name] class */
export function made(tag, text, name) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (name) node.className = name;
  return node;
}

/** The value of one of theme.css's colours. @param {string} name */
export function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
