// @ts-check
// Starts the page: shows what the address says, then listens.
import { listenToControls } from "./controls.js";
import { element } from "./dom.js";
import { linksFold, showLinks } from "./links.js";
import { listenToOverlay } from "./overlaycontrols.js";
import { Page } from "./page.js";
import { listenToOverview, listenToView } from "./pointing.js";
import { listenToTaking } from "./taking.js";
import { VIEWS } from "./views.js";
import { documentRead, readJson } from "./weights.js";
import { listenToZoom } from "./zoom.js";

async function start() {
  for (const node of document.querySelectorAll("[data-without-script]")) {
    /** @type {HTMLElement} */ (node).hidden = true;
  }
  for (const node of document.querySelectorAll("[data-with-script]")) {
    /** @type {HTMLElement} */ (node).hidden = false;
  }
  placeHeads(window.matchMedia("(min-width: 1180px)"));
  unfoldForPrint();
  const page = new Page(readJson("document"));
  await page.show();
  listenToControls(page);
  for (const name of Object.keys(VIEWS)) listenToView(page, name);
  listenToOverview(page);
  listenToZoom(page);
  listenToOverlay(page);
  listenToTaking(page);
  listenToWindow(page);
  tellHeight();
  document.documentElement.dataset.ready = "true";
  await documentRead();
  element("cut-off").hidden = Boolean(document.getElementById("end"));
}

/** On a wide screen all heads stand left of the shown one (page.css), otherwise below it: whoever goes
 * through the page by keyboard or ear meets both in the order in which they are seen.
 * @param {MediaQueryList} wide */
function placeHeads(wide) {
  const desk = document.querySelector(".desk:not(.broad)");
  const place = () => {
    const heads = element("heads");
    if (wide.matches) desk?.prepend(heads);
    else desk?.append(heads);
  };
  place();
  wide.addEventListener("change", place);
}

/** Nobody can unfold paper: how to read a picture is printed, whether it is open or not. Without scripts
 * it stays open. */
function unfoldForPrint() {
  const how = /** @type {HTMLDetailsElement} */ (document.querySelector(".how"));
  let open = (how.open = false);
  window.addEventListener("beforeprint", () => {
    open = how.open;
    how.open = true;
  });
  window.addEventListener("afterprint", () => {
    how.open = open;
  });
}

/** On a wide screen options stand open in one row; on a small one they are a tap away.
 * @param {MediaQueryList} wide */
function unfoldOptions(wide) {
  const options = /** @type {HTMLDetailsElement} */ (element("options"));
  options.open = wide.matches;
  wide.addEventListener("change", () => {
    options.open = wide.matches;
  });
}

/** In a frame, tell how high the page is: from outside nobody can see it (notebook.js listens). */
function tellHeight() {
  if (window.parent === window) return;
  const tell = () => window.parent.postMessage({ attnreport: document.body.offsetHeight }, "*");
  new ResizeObserver(tell).observe(document.body);
}

function openHelp() {
  /** @type {HTMLDialogElement} */ (element("help")).showModal();
  element("help-title").focus(); // by script: a frame is refused autofocus, and says so on its console
}

/** @param {Page} page */
function listenToWindow(page) {
  element("open-help").addEventListener("click", openHelp);
  element("close-help").addEventListener("click", (event) => {
    event.preventDefault(); // the policy lets no form be sent, not even to close its dialog
    /** @type {HTMLDialogElement} */ (element("help")).close();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLSelectElement || event.target instanceof HTMLInputElement;
    const off = !(/** @type {HTMLInputElement} */ (element("keys-on")).checked);
    if (off || typing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (document.querySelector("dialog[open]")) return; // what lies behind it cannot be seen
    if (event.key === "?") openHelp();
    if (event.key === "/") {
      event.preventDefault(); // the browser's own search would open
      /** @type {HTMLDetailsElement} */ (element("options")).open = true;
      element("find").focus();
    }
    if (event.key === "[") page.step(-1);
    if (event.key === "]") page.step(1);
  });
  window.addEventListener("hashchange", () => {
    page.state = page.stateOfAddress();
    page.show();
  });
  // In a frame that has no address of its own such a link would lead to the page around it.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null;
    if (!link || window.location.protocol !== "about:") return;
    event.preventDefault();
    page.state = page.stateOfAddress(link.getAttribute("href") ?? "");
    page.show();
  });
  page.dark.addEventListener("change", () => page.show());
  linksFold()?.addEventListener("toggle", () => page.scene && showLinks(page.scene));
  unfoldOptions(window.matchMedia("(min-width: 861px)"));
  const stage = element("stage");
  let width = stage.clientWidth;
  new ResizeObserver(() => {
    if (stage.clientWidth === width) return;
    width = stage.clientWidth;
    page.show();
  }).observe(stage);
}

start();
