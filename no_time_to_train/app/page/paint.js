// Draws instances on a canvas, in the pixels of the image.

import { colourOf } from "./palette.js";
import { classIndex, isOpen, scoreText } from "./store.js";

const LETTER = 6.4, LINE = 15; // pixels on the screen, of the labels' font
const ROOM = 34; // an object narrower than this on the screen has no label

/** @type {WeakMap<number[][], Path2D>} */
const paths = new WeakMap();

/** Outline as a path in the image's pixels. @param {number[][]} outline @returns {Path2D} */
export function pathOf(outline) {
  let path = paths.get(outline);
  if (!path) {
    path = new Path2D();
    for (const ring of outline) {
      for (let i = 0; i + 1 < ring.length; i += 2) {
        if (i) path.lineTo(ring[i], ring[i + 1]);
        else path.moveTo(ring[i], ring[i + 1]);
      }
      path.closePath();
    }
    paths.set(outline, path);
  }
  return path;
}

/**
 * @param {CanvasRenderingContext2D} context with the image's pixels as its unit
 * @param {number[][]} outline @param {number} scale screen pixels of a pixel of the image
 * @param {{colour: string, fill?: number, width?: number, dashed?: boolean, rim?: string, rimWidth?: number}} how
 *   `rim`: what sets the line off from the picture
 */
export function paintOutline(context, outline, scale, how) {
  const { colour, fill = 0.2, width = 1.5, dashed = false, rim = "rgb(0 0 0 / .5)", rimWidth = 1.5 } = how;
  const path = pathOf(outline);
  context.lineJoin = "round";
  if (fill) {
    context.globalAlpha = fill;
    context.fillStyle = colour;
    context.fill(path, "evenodd");
  }
  context.globalAlpha = 1;
  context.strokeStyle = rim;
  context.lineWidth = (width + rimWidth) / scale;
  context.setLineDash([]);
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = width / scale;
  context.setLineDash(dashed ? [5 / scale, 4 / scale] : []);
  context.stroke(path);
  context.setLineDash([]);
}

/**
 * @param {CanvasRenderingContext2D} context @param {import("./store.js").Instance} one
 * @param {number} scale @param {{selected?: boolean, hovered?: boolean}} how
 */
export function paintInstance(context, one, scale, { selected = false, hovered = false }) {
  const colour = colourOf(classIndex(one.class)), candidate = isOpen(one);
  const fill = (candidate ? 0.1 : 0.24) + (selected || hovered ? 0.16 : 0);
  const look = selected ? { width: 2.5, rim: "#fff", rimWidth: 4 } : { width: 1.8, dashed: candidate };
  paintOutline(context, one.outline, scale, { colour, fill, ...look });
}

/** What an instance is called on the screen. @param {import("./store.js").Instance} one */
const labelOf = (one) =>
  (isOpen(one) ? `${one.class} ${scoreText(one)}`.trim() : `${one.role === "reference" ? "★ " : ""}${one.class}`);

/**
 * Names beside the objects, in screen pixels; those that would cover another are left out.
 * @param {CanvasRenderingContext2D} context with screen pixels as its unit
 * @param {import("./store.js").Instance[]} instances the important ones first
 * @param {(x: number, y: number) => number[]} toScreen @param {Set<string>} wanted ids that are named in any case
 */
export function paintLabels(context, instances, toScreen, wanted) {
  /** @type {number[][]} */
  const taken = [];
  context.font = "500 11.5px system-ui, sans-serif";
  context.textBaseline = "top";
  context.lineJoin = "round";
  for (const one of instances) {
    const [left, top] = toScreen(one.box[0], one.box[1]), [right] = toScreen(one.box[2], one.box[3]);
    const text = labelOf(one), width = text.length * LETTER;
    const x = Math.max(2, (left + right - width) / 2), y = Math.max(2, top - LINE);
    const covers = taken.some(([x1, y1, x2, y2]) => x < x2 && x + width > x1 && y < y2 && y + LINE > y1);
    if (!wanted.has(one.id) && (covers || right - left < ROOM)) continue;
    taken.push([x, y, x + width, y + LINE]);
    context.strokeStyle = "rgb(0 0 0 / .75)";
    context.lineWidth = 3;
    context.strokeText(text, x, y);
    context.fillStyle = isOpen(one) ? "#e0e0e0" : "#fff";
    context.fillText(text, x, y);
  }
}

/**
 * Topmost instance under a point: the smallest one.
 * @param {CanvasRenderingContext2D} context @param {import("./store.js").Instance[]} instances
 * @param {number} x @param {number} y pixels of the image
 */
export function instanceAt(context, instances, x, y) {
  const area = (one) => (one.box[2] - one.box[0]) * (one.box[3] - one.box[1]);
  let best = null;
  for (const one of instances) {
    const [x1, y1, x2, y2] = one.box;
    if (x < x1 - 1 || x > x2 + 1 || y < y1 - 1 || y > y2 + 1) continue;
    if (best && area(best) <= area(one)) continue;
    if (inside(context, one.outline, x, y)) best = one;
  }
  return best;
}

/** @param {CanvasRenderingContext2D} context @param {number[][]} outline @param {number} x @param {number} y */
export function inside(context, outline, x, y) {
  context.save();
  context.resetTransform();
  const hit = context.isPointInPath(pathOf(outline), x, y, "evenodd");
  context.restore();
  return hit;
}
