// @ts-check
// Stands beside a report's frame in a notebook: the frame grows to the height that its page tells.

window.addEventListener("message", ({ data, source }) => {
  const height = Number(data?.attnreport);
  if (!(height > 0)) return;
  for (const frame of document.querySelectorAll('iframe[title="attnreport"]')) {
    const { contentWindow, style } = /** @type {HTMLIFrameElement} */ (frame);
    // As high as it says, within reason: a page could say anything.
    if (contentWindow === source) style.height = `${Math.min(Math.ceil(height), 20_000)}px`;
  }
});
