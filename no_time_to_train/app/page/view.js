// The picture on its canvas: what is drawn, zoom, and where screen and image pixels meet.

import { byId, show } from "./dom.js";
import { draft, dropDraft, hasDraft } from "./draft.js";
import { inside, instanceAt, paintInstance, paintLabels, paintOutline } from "./paint.js";
import { colourOf } from "./palette.js";
import { classIndex, currentRow, listen, neighbour, select, selectedInstance, store, visible } from "./store.js";

const canvas = byId("canvas"), box = canvas.parentElement;
const context = canvas.getContext("2d");
const MARGIN = 10, CLOSEST = 24; // screen pixels around the picture; of one pixel of the image, at most

export const view = {
  scale: 1, x: 0, y: 0, // screen = image · scale + (x, y)
  width: 0, height: 0, // of the image
  /** @type {HTMLImageElement|null} */
  photo: null,
  /** @type {string|null} instance under the pointer */
  hovered: null,
  /** @type {{x: number, y: number}|null} where the arrow keys are, in pixels of the image */
  cross: null,
  /** @type {number[]|null} box that is being dragged */
  rubber: null,
  /** @type {{points: number[][], radius: number, erase: boolean}|null} stroke that is being drawn */
  stroke: null,
  /** @type {number[]|null} the pointer, for the ring of the brush */
  pointer: null,
  radius: 0,
  hidden: false,
  /** the whole picture is shown: it stays so when the window changes */
  fitted: true,
  /** the photograph could not be read */
  failed: false,
};

/** @param {number} x @param {number} y screen pixels in the canvas @returns {[number, number]} pixels of the image */
export const toImage = (x, y) => [(x - view.x) / view.scale, (y - view.y) / view.scale];
/** @param {number} x @param {number} y pixels of the image @returns {[number, number]} */
export const toScreen = (x, y) => [x * view.scale + view.x, y * view.scale + view.y];
/** @param {number} x @param {number} y pixels of the image */
export const isInside = (x, y) => x >= 0 && y >= 0 && x < view.width && y < view.height;

/** @param {number} x @param {number} y pixels of the image @returns {import("./store.js").Instance|null} */
export const under = (x, y) => (view.hidden ? null : instanceAt(context, visible(), x, y));

/** Whether a point lies in the mask that the pointer shows. @param {number} x @param {number} y */
export const inHover = (x, y) => draft.hover.length > 0 && inside(context, draft.hover, x, y);

/** The whole picture. */
export function fit() {
  const wide = box.clientWidth, high = box.clientHeight;
  view.scale = Math.max(0.01, Math.min((wide - 2 * MARGIN) / view.width, (high - 2 * MARGIN) / view.height));
  view.x = (wide - view.width * view.scale) / 2;
  view.y = (high - view.height * view.scale) / 2;
  view.fitted = true;
  redraw();
}

/** @param {number} factor @param {number} x @param {number} y stays where it is on the screen */
export function zoom(factor, x = box.clientWidth / 2, y = box.clientHeight / 2) {
  const smallest = Math.min(box.clientWidth / view.width, box.clientHeight / view.height) / 2;
  const scale = Math.max(smallest, Math.min(CLOSEST, view.scale * factor));
  const [ix, iy] = toImage(x, y);
  view.scale = scale;
  view.fitted = false;
  view.x = x - ix * scale;
  view.y = y - iy * scale;
  redraw();
}

/** @param {number} dx @param {number} dy screen pixels */
export function pan(dx, dy) {
  view.fitted = false;
  view.x += dx;
  view.y += dy;
  redraw();
}

let asked = false;
export function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, box.clientWidth, box.clientHeight);
  if (!view.photo || !view.width) return;
  context.translate(view.x, view.y);
  context.scale(view.scale, view.scale);
  context.imageSmoothingEnabled = view.scale < 6;
  context.imageSmoothingQuality = "high";
  context.drawImage(view.photo, 0, 0, view.width, view.height);
  if (!view.hidden) drawInstances();
  drawDraft();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!view.hidden) {
    const chosen = [store.selected, view.hovered];
    const order = [...visible()].sort((a, b) => Number(chosen.includes(b.id)) - Number(chosen.includes(a.id)));
    paintLabels(context, order, toScreen, new Set(chosen.filter(Boolean)));
  }
  drawCross();
}

function drawInstances() {
  const chosen = selectedInstance();
  for (const one of visible()) {
    if (one.id === chosen?.id || one.id === draft.editing?.id) continue;
    paintInstance(context, one, view.scale, { hovered: one.id === view.hovered });
  }
  if (chosen && chosen.state !== "rejected") paintInstance(context, chosen, view.scale, { selected: true });
}

function drawDraft() {
  const colour = colourOf(classIndex(draft.editing?.class ?? store.className));
  if (draft.hover.length) paintOutline(context, draft.hover, view.scale, { colour: "#fff", fill: 0.25, dashed: true });
  if (draft.now.outline.length) paintOutline(context, draft.now.outline, view.scale, { colour, fill: 0.4, width: 2.5 });
  for (const [x, y, belongs] of draft.now.points) drawDot(x, y, belongs ? "#1fbf75" : "#f0483e");
  context.lineWidth = 1.5 / view.scale;
  if (view.rubber) {
    const [x1, y1, x2, y2] = view.rubber;
    context.strokeStyle = "#000";
    context.setLineDash([]);
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.strokeStyle = "#fff";
    context.setLineDash([6 / view.scale, 4 / view.scale]);
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.setLineDash([]);
  }
  if (view.stroke) drawStroke(view.stroke);
  if (view.radius && view.pointer) {
    context.beginPath();
    context.arc(view.pointer[0], view.pointer[1], view.radius, 0, 7);
    for (const { colour, width } of [{ colour: "#000", width: 3 }, { colour: "#fff", width: 1.5 }]) {
      context.strokeStyle = colour;
      context.lineWidth = width / view.scale;
      context.stroke();
    }
  }
}

function drawDot(x, y, colour) {
  context.beginPath();
  context.arc(x, y, 5 / view.scale, 0, 7);
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = 1.5 / view.scale;
  context.strokeStyle = "#fff";
  context.stroke();
}

function drawStroke({ points, radius, erase }) {
  context.globalAlpha = 0.5;
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = 2 * radius;
  context.strokeStyle = erase ? "#f0483e" : "#1fbf75";
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  if (points.length === 1) context.lineTo(points[0][0] + 0.01, points[0][1]);
  context.stroke();
  context.globalAlpha = 1;
}

function drawCross() {
  if (!view.cross) return;
  const [x, y] = toScreen(view.cross.x, view.cross.y);
  for (const [colour, width] of [["#000", 4], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 13 * dx, y + 13 * dy);
    }
    context.stroke();
  }
}

// ---- the photograph ----

const load = (id) => { const photo = new Image(); photo.src = `/images/${id}/view`; return photo; };
let shownId = null, ahead = null;

/** Show the image that is looked at, and fetch the next one. */
async function showPhoto() {
  const id = store.current;
  if (id === null || id === shownId) return;
  shownId = id;
  dropDraft();
  Object.assign(view, { photo: null, hovered: null, cross: null, rubber: null, stroke: null, width: 0, failed: false });
  redraw();
  const photo = load(id);
  const loaded = await photo.decode().then(() => true, () => false);
  if (store.current !== id) return;
  view.failed = !loaded;
  if (!loaded) { tellFault(); return; }
  const row = currentRow();
  Object.assign(view, { photo, width: row?.width ?? photo.naturalWidth, height: row?.height ?? photo.naturalHeight });
  tellFault();
  fit();
  const next = neighbour(1);
  ahead = next === null ? null : load(next);
}

function tellFault() {
  const text = currentRow()?.error ?? (view.failed ? "This image cannot be shown." : "");
  byId("canvas-text").textContent = text;
  show(byId("canvas-text"), Boolean(text));
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.clientWidth * ratio);
  canvas.height = Math.round(box.clientHeight * ratio);
  if (view.width && view.fitted) fit();
  else draw(); // a canvas that changes its size is empty
}

/** Say in words what the picture shows. */
function describe() {
  const row = currentRow();
  if (!row || !store.detail) return;
  const confirmed = store.detail.objects.filter((one) => one.state === "confirmed").length;
  const candidates = visible().length - confirmed;
  canvas.setAttribute("aria-label", `Image ${row.name}: ${confirmed} confirmed, ${candidates} to decide`);
}

/** Choose the instance after or before the chosen one. @param {number} step */
export function stepInstance(step) {
  const list = visible(), at = list.findIndex((one) => one.id === store.selected);
  if (!list.length) return;
  if (hasDraft()) return;
  select(list[(at < 0 ? (step > 0 ? 0 : list.length - 1) : at + step + list.length) % list.length].id);
}

new ResizeObserver(resize).observe(box);
listen(["detail", "rows"], showPhoto);
listen(["detail"], describe);
listen(["detail", "rows"], tellFault);
listen(["detail", "selected", "draft", "threshold", "class", "state", "mode"], redraw);
