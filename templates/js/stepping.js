// @ts-check
// Keys on a picture: from a patch to the one beside it, and through positions that have no place.

/** @typedef {import("./boxes.js").Box} Box */

/** @type {Record<string, [number, number]>} across and down */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The position that a key leads to, or null for a key that leads nowhere. Arrows go to the nearest
 * patch that lies that way; Page Up and Page Down go through all positions in order.
 * @param {string} pressed @param {number | null} from @param {(Box | null)[]} boxes */
export function neighbour(pressed, from, boxes) {
  const last = boxes.length - 1;
  const direction = DIRECTIONS[pressed];
  if (!direction) return inOrder(pressed, from, last);
  const here = from === null ? null : boxes[from];
  if (here) return nearest(here, from, boxes, direction);
  // A position without a place has none beside it: arrows go through such positions and then in.
  if (from === null) return 0;
  const by = direction[0] + direction[1];
  return Math.min(last, Math.max(0, from + by));
}

/** @param {string} pressed @param {number | null} from @param {number} last */
function inOrder(pressed, from, last) {
  if (pressed === "Home") return 0;
  if (pressed === "End") return last;
  if (pressed === "PageDown") return Math.min(last, (from ?? -1) + 1);
  if (pressed === "PageUp") return Math.max(0, (from ?? 1) - 1);
  return null;
}

/** @param {Box} here @param {number | null} from @param {(Box | null)[]} boxes
 * @param {[number, number]} direction */
function nearest(here, from, boxes, [across, down]) {
  const [x, y] = middle(here);
  let best = from;
  let least = Infinity;
  boxes.forEach((box, index) => {
    if (!box || index === from) return;
    const [dx, dy] = [middle(box)[0] - x, middle(box)[1] - y];
    const ahead = dx * across + dy * down;
    const aside = Math.abs(dx * down) + Math.abs(dy * across);
    // Ahead means more ahead than aside: within a quarter turn.
    if (ahead > 0 && aside <= ahead && ahead + 2 * aside < least) {
      [best, least] = [index, ahead + 2 * aside];
    }
  });
  return best;
}

/** @param {Box} box */
function middle([x0, y0, x1, y1]) {
  return [(x0 + x1) / 2, (y0 + y1) / 2];
}
