// @ts-check
// A Vega chart in the page: interpreted, drawn as SVG, and loading nothing.

/** Milliseconds that a busy machine may take to put a picture in place. */
const PATIENCE = 10_000;
/** @type {WeakMap<HTMLElement, string>} the last picture that was asked for in an element */
const wanted = new WeakMap();

/**
 * @param {HTMLElement} element @param {object} spec Vega
 * @returns {Promise<any>} a Vega view
 */
export async function mountChart(element, spec) {
  const { vegaEmbed } = /** @type {any} */ (window);
  const { view } = await vegaEmbed(element, spec, {
    mode: "vega",
    ast: true, // interpreted: the page's policy forbids making code from text
    actions: false,
    defaultStyle: false,
    tooltip: false,
    hover: false,
    renderer: "svg",
    loader: refusingLoader(),
  });
  return view;
}

/** Draw, and wait until the next frame paints the picture in the chart: Vega puts it in place without
 * waiting, and an SVG image does not tell when it is decoded, but one that begins after it does.
 * @param {HTMLElement} element @param {any} view @param {string} url */
export async function drawn(element, view, url) {
  await view.resize().runAsync(); // labels take another room each time
  await painted(element, url);
}

/** Wait until a picture of a chart is in place and decoded, or another one is wanted there.
 * @param {HTMLElement} element @param {string} url */
export async function painted(element, url) {
  wanted.set(element, url);
  const images = () => [...element.querySelectorAll("svg image")];
  const inPlace = () => images().some((image) => image.getAttribute("href") === url);
  const latest = performance.now() + PATIENCE;
  while (wanted.get(element) === url && !inPlace() && performance.now() < latest) await nextFrame();
  const probe = new Image();
  probe.src = url;
  await probe.decode();
}

function nextFrame() {
  return new Promise((resolve) => {
    requestAnimationFrame(resolve);
  });
}

/** A Vega loader for pictures that are in the page already, and for nothing else. */
function refusingLoader() {
  const refuse = async (/** @type {string} */ url) => {
    throw new Error(`this page loads nothing, it was asked for ${String(url).slice(0, 80)}`);
  };
  const sanitize = async (/** @type {string} */ url) =>
    /^data:image\/(png|jpeg|svg\+xml);base64,/.test(url) ? { href: url } : refuse(url);
  return { load: refuse, http: refuse, file: refuse, sanitize };
}

/** Where an event lies in a chart, in the chart's own pixels from its plot's corner.
 * @param {HTMLElement} element @param {any} view @param {MouseEvent} event
 * @returns {[number, number]} */
export function pointIn(element, view, event) {
  const box = (element.querySelector("svg") ?? element).getBoundingClientRect();
  const [left, top] = view.origin();
  return [event.clientX - box.left - left, event.clientY - box.top - top];
}
