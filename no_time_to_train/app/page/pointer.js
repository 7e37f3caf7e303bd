// Mouse, finger, pen and arrow keys over the picture: what they mean with each tool.

import { byId, make, show } from "./dom.js";
import { addBox, addPoint, addStroke, draft, endHover, hasDraft, hoverAt } from "./draft.js";
import { listen, select, tell } from "./store.js";
import { inHover, isInside, pan, redraw, toImage, under, view, zoom } from "./view.js";

const canvas = byId("canvas");
const STILL = 4; // screen pixels that a click may wander
const STEP = 10, FINE = 2; // screen pixels of an arrow key

/** @type {Record<string, {name: string, key: string, title: string}>} */
const TOOLS = {
  point: { name: "Point", key: "v", title: "Click takes what lies under the pointer; drag makes a box" },
  cut: { name: "Cut", key: "c", title: "Click cuts a part off the mask (Shift-click with the point tool)" },
  brush: { name: "Brush", key: "b", title: "Paint more of the mask" },
  eraser: { name: "Eraser", key: "e", title: "Wipe parts of the mask off" },
};

export let tool = "point";
const paints = () => tool === "brush" || tool === "eraser";
const size = byId("brush-size").querySelector("input");

/** @param {string} name */
export function choose(name) {
  tool = name;
  for (const button of byId("tools").children) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  show(byId("brush-size"), paints());
  canvas.dataset.tool = name;
  if (!paints()) view.radius = 0;
  endHover();
  tell("draft");
}

/** @param {number} factor */
export function resizeBrush(factor) {
  size.value = String(Math.round(Number(size.value) * factor + Math.sign(factor - 1)));
  if (paints()) { view.radius = Number(size.value) / view.scale; redraw(); }
}

/** Radius of the brush in pixels of the image. */
const radius = () => Number(size.value) / view.scale;

/** @type {Map<number, PointerEvent>} */
const fingers = new Map();
/** @type {{x: number, y: number, moved: boolean, pans: boolean}|null} */
let press = null;

/** Where an event is, in pixels of the canvas. @param {any} event @returns {[number, number]} */
const place = (event) => [event.offsetX, event.offsetY];

function down(event) {
  fingers.set(event.pointerId, event);
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  view.cross = null;
  const [x, y] = place(event);
  press = { x, y, moved: false, pans: event.button > 0 || fingers.size > 1 };
  if (press.pans) { view.stroke = view.rubber = null; redraw(); return; }
  if (paints() && view.width) {
    view.stroke = { points: [toImage(x, y)], radius: radius(), erase: tool === "eraser" };
    redraw();
  }
}

/** Two fingers move and zoom. @param {PointerEvent} event */
function pinch(event) {
  const before = [...fingers.values()], old = fingers.get(event.pointerId);
  fingers.set(event.pointerId, event);
  const [a, b] = before.map((one) => (one === old ? event : one));
  const [a0, b0] = before;
  const span = (p, q) => Math.hypot(p.offsetX - q.offsetX, p.offsetY - q.offsetY) || 1;
  const middle = (p, q) => [(p.offsetX + q.offsetX) / 2, (p.offsetY + q.offsetY) / 2];
  const [x0, y0] = middle(a0, b0), [x, y] = middle(a, b);
  pan(x - x0, y - y0);
  zoom(span(a, b) / span(a0, b0), x, y);
}

function move(event) {
  if (!view.width) return;
  const [x, y] = place(event), [ix, iy] = toImage(x, y);
  if (fingers.size === 2) { pinch(event); return; }
  view.pointer = [ix, iy];
  view.radius = paints() ? radius() : 0;
  if (!press) { glide(ix, iy, event.pointerType); return; }
  if (press.pans) { pan(x - press.x, y - press.y); press.x = x; press.y = y; return; }
  press.moved ||= Math.hypot(x - press.x, y - press.y) > STILL;
  if (view.stroke) view.stroke.points.push([ix, iy]);
  else if (press.moved && tool === "point") {
    endHover();
    const [px, py] = toImage(press.x, press.y);
    view.rubber = [Math.min(px, ix), Math.min(py, iy), Math.max(px, ix), Math.max(py, iy)];
  }
  redraw();
}

/** The pointer moves with no button down: what lies there lights up. */
function glide(x, y, kind) {
  const over = hasDraft() || paints() ? null : under(x, y);
  if (view.hovered !== (over?.id ?? null)) { view.hovered = over?.id ?? null; }
  canvas.dataset.over = over ? "instance" : "";
  redraw();
  if (tool !== "point" || hasDraft() || over || kind === "touch" || !isInside(x, y)) { endHover(); return; }
  if (!inHover(x, y) || !draft.waiting) hoverAt(x, y);
}

function up(event) {
  fingers.delete(event.pointerId);
  const ended = press;
  if (fingers.size) return;
  press = null;
  if (!ended || ended.pans || !view.width) return;
  const [x, y] = toImage(...place(event));
  if (view.stroke) {
    const stroke = view.stroke;
    view.stroke = null;
    addStroke(stroke);
  } else if (view.rubber) {
    const [x1, y1, x2, y2] = view.rubber;
    view.rubber = null;
    const within = (value, most) => Math.max(0, Math.min(most, value));
    addBox([within(x1, view.width), within(y1, view.height), within(x2, view.width), within(y2, view.height)]);
  } else if (!ended.moved || tool === "cut") click(x, y, event.shiftKey || tool === "cut", event.altKey);
  redraw();
}

/**
 * A click, or the space bar at the cross.
 * @param {number} x @param {number} y pixels of the image @param {boolean} cuts @param {boolean} fresh a new mask even where one is shown
 */
export function click(x, y, cuts, fresh = false) {
  if (!isInside(x, y)) { if (!hasDraft()) select(null); return; }
  const over = hasDraft() || fresh ? null : under(x, y);
  if (over) { endHover(); select(over.id); return; }
  addPoint(x, y, !cuts);
}

/** Move the cross. @param {number} dx @param {number} dy @param {boolean} fine */
export function moveCross(dx, dy, fine) {
  if (!view.width) return;
  const step = (fine ? FINE : STEP) / view.scale;
  const { x, y } = view.cross ?? { x: view.width / 2, y: view.height / 2 };
  view.cross = {
    x: Math.max(0, Math.min(view.width - 1, x + dx * step)),
    y: Math.max(0, Math.min(view.height - 1, y + dy * step)),
  };
  glide(view.cross.x, view.cross.y, "keyboard");
}

/** Click at the cross. @param {boolean} cuts */
export const clickCross = (cuts) => {
  if (view.cross) click(view.cross.x, view.cross.y, cuts);
};

function cancel(event) {
  fingers.delete(event.pointerId);
  press = null;
  view.rubber = view.stroke = null;
  redraw();
}

/** Take the events of the canvas. */
export function startPointer() {
  for (const [name, { name: text, key, title }] of Object.entries(TOOLS)) {
    const button = make("button", { title: `${title} (${key})`, onclick: () => choose(name), "data-tool": name }, text);
    byId("tools").append(button);
  }
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("pointerleave", () => { view.hovered = view.pointer = null; endHover(); tell("draft"); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX, event.offsetY);
  }, { passive: false });
  size.addEventListener("input", () => { view.radius = radius(); redraw(); });
  listen(["detail"], () => { if (press && !view.width) press = null; });
  choose("point");
}
