// The grid of crops: look, confirm, reject, many at once.

import { classify, decide, remove, roleText, toggleRole } from "./actions.js";
import { crops, allFrom, readAhead, reread, takeOut } from "./crops.js";
import { actionButton, byId, counted, make, show } from "./dom.js";
import { complain, say } from "./messages.js";
import { colourOf } from "./palette.js";
import { classIndex, classOf, isOpen, listen, scoreText, store, tell, thresholdOf } from "./store.js";
import { openImage } from "./sync.js";
import { setPicture, virtualList } from "./virtual.js";

const box = byId("grid");
const WHATS = { candidates: "To decide", confirmed: "Confirmed", rejected: "Rejected" };
const WIDE = 172, NARROW = 118, TEXT = 26; // CSS pixels of a crop; of the line below it

let cursor = 0, anchor = 0;
/** @type {Set<string>} ids that were selected together */
let chosen = new Set();
/** @type {[number, number]} first and last item in view */
let seen = [0, 60];

function size() {
  const columns = Math.max(2, Math.floor(box.clientWidth / (box.clientWidth < 600 ? NARROW : WIDE)));
  const width = Math.floor((box.clientWidth - 2) / columns);
  return { width, height: width + TEXT, across: false, columns };
}

const list = virtualList(box, {
  size,
  fill,
  key: (index) => crops.items[index]?.id ?? index,
  moved: (first, last) => {
    seen = [first, last];
    readAhead(first, last).then((came) => { if (came) list.refill(); }).catch(complain);
  },
});

/** @param {any} element @param {number} index */
function fill(element, index) {
  const one = crops.items[index];
  if (!element.firstChild) {
    element.append(make("img", { alt: "", decoding: "async" }), make("span", { className: "caption" }));
    element.addEventListener("click", (event) => point(element.index, event));
    element.addEventListener("dblclick", () => openChosen());
  }
  const [image, caption] = element.children;
  if (one) setPicture(image, `/crops/${encodeURIComponent(one.id)}?v=${one.revision ?? 0}`);
  const role = one?.role ? "★ " : "";
  const name = one ? store.rows[store.placeOf.get(one.image)]?.name ?? "" : "";
  caption.replaceChildren(make("b", {}, one ? `${role}${scoreText(one) || "by hand"}` : "…"), ` ${name}`);
  element.style.setProperty("--c", colourOf(classIndex(crops.className)));
  element.classList.toggle("cursor", index === cursor);
  element.classList.toggle("below", Boolean(one && isOpen(one) && one.score !== null && one.score < thresholdOf(one.class)));
  element.setAttribute("aria-selected", String(one ? chosen.has(one.id) || index === cursor : false));
  element.classList.toggle("chosen", Boolean(one && chosen.has(one.id)));
  element.setAttribute("aria-label", one ? `${one.class}, score ${scoreText(one) || "none"}, ${name}${role ? ", an example" : ""}` : "not read yet");
}

/** What a key acts on: those selected together, or the one at the cursor. @returns {import("./store.js").Instance[]} */
export function targets() {
  const many = crops.items.filter((one) => one && chosen.has(one.id));
  const one = crops.items[cursor];
  return many.length ? many : one ? [one] : [];
}

function place(index, extend) {
  cursor = Math.max(0, Math.min(crops.total - 1, index));
  if (extend) {
    const [from, to] = [Math.min(anchor, cursor), Math.max(anchor, cursor)];
    chosen = new Set(crops.items.slice(from, to + 1).filter(Boolean).map((one) => one.id));
  } else { anchor = cursor; chosen.clear(); }
  list.reveal(cursor);
  draw();
}

/** Mouse or finger on a crop. @param {number} index @param {MouseEvent} event */
function point(index, event) {
  if (event.ctrlKey || event.metaKey) {
    const id = crops.items[index]?.id;
    if (!id) return;
    if (!chosen.size && crops.items[cursor]) chosen.add(crops.items[cursor].id);
    if (!chosen.delete(id)) chosen.add(id);
    cursor = anchor = index;
    draw();
  } else place(index, event.shiftKey);
}

/** Move the cursor. @param {"left"|"right"|"up"|"down"|"pageup"|"pagedown"|"first"|"last"} where @param {boolean} extend */
export function moveCursor(where, extend) {
  const { columns } = size(), page = columns * list.page();
  const to = { left: cursor - 1, right: cursor + 1, up: cursor - columns, down: cursor + columns, pageup: cursor - page, pagedown: cursor + page, first: 0, last: crops.total - 1 }[where];
  if (crops.total && !(where === "up" && to < 0) && !(where === "down" && to >= crops.total)) place(to, extend);
}

export function chooseAll() {
  chosen = new Set(crops.items.filter(Boolean).map((one) => one.id));
  if (crops.items.filter(Boolean).length < crops.total) say("Selected what was read so far; scroll down for the rest.");
  draw();
}

/** Act on the targets; they leave the grid at once and the next ones move up. */
async function act(instances, action) {
  if (!instances.length) return;
  takeOut(new Set(instances.map((one) => one.id)));
  chosen.clear();
  cursor = anchor = Math.max(0, Math.min(cursor, crops.total - 1));
  draw();
  if (!await action(instances)) await begin();
}

/** @param {"confirmed"|"rejected"} state */
export const decideTargets = (state) => act(targets().filter((one) => one.state !== state), (ones) => decide(ones, state));
/** @param {number} index of a class */
export function classifyTargets(index) {
  const name = store.state.classes[index]?.name;
  if (name) act(targets().filter((one) => isOpen(one) || one.class !== name), (ones) => classify(ones, name));
}
export const removeTargets = () => act(targets().filter((one) => !isOpen(one)), remove);

export async function roleOfTargets() {
  if (crops.what === "candidates") await act(targets(), toggleRole);
  else if (await toggleRole(targets())) await renew();
}

export function openChosen() {
  const one = crops.items[cursor];
  if (!one) return;
  setMode("picture");
  openImage(one.image, one.id);
}

/** Picture or grid. @param {"picture"|"grid"} mode */
export function setMode(mode) {
  store.mode = mode;
  for (const name of ["picture", "grid"]) byId(`to-${name}`).setAttribute("aria-pressed", String(name === mode));
  show(byId("picture"), mode === "picture");
  show(byId("grid-view"), mode === "grid");
  document.body.dataset.mode = mode;
  tell("mode");
  if (mode === "grid") begin().then(() => box.focus({ preventScroll: true }));
  else byId("canvas").focus({ preventScroll: true });
}

/** @param {keyof typeof WHATS} what */
function showWhat(what) {
  crops.what = what;
  for (const button of byId("whats").children) button.setAttribute("aria-pressed", String(button.dataset.what === what));
  begin();
}

/** Read anew, from the top. */
async function begin() {
  cursor = anchor = 0;
  chosen.clear();
  box.scrollTop = 0;
  seen = [0, 60];
  await renew();
}

/** Read anew, where one is. */
export async function renew() {
  try { await reread(...seen); } catch (error) { complain(error); }
  cursor = Math.max(0, Math.min(cursor, crops.total - 1));
  draw();
}

function draw() {
  const one = classOf(store.className);
  list.update(crops.total);
  if (crops.total) box.setAttribute("aria-activedescendant", `grid-${cursor}`);
  else box.removeAttribute("aria-activedescendant");
  const many = chosen.size > 1 ? ` · ${chosen.size} selected` : "";
  byId("grid-text").textContent = !one ? "No class yet: click on one of your things in the image."
    : `${one.name}, best first${many}`;
  drawHead(one);
  drawButtons();
}

function drawHead(one) {
  for (const button of byId("whats").children) {
    const count = one?.[button.dataset.what] ?? 0;
    button.textContent = `${WHATS[button.dataset.what]} ${count.toLocaleString("en")}`;
  }
  const above = one?.above ?? 0, fresh = byId("fresh"), all = byId("confirm-all");
  show(all, crops.what === "candidates" && above > 0);
  all.textContent = `Confirm all ${above.toLocaleString("en")} of ${one?.threshold.toFixed(2)} or more`;
  const changed = crops.what === "candidates" && one && crops.className === one.name && one.candidates !== crops.total;
  show(fresh, Boolean(changed));
  fresh.textContent = `List has changed: show ${one?.candidates.toLocaleString("en")}`;
}

/** What can be done with the targets; made once, so that the focus stays. */
const buttons = {
  confirm: actionButton("Confirm", "Enter", () => decideTargets("confirmed"), "good"),
  reject: actionButton("Reject", "Backspace", () => decideTargets("rejected"), "bad"),
  role: actionButton("As an example", "r", () => roleOfTargets()),
  remove: actionButton("Delete", "Del", () => removeTargets()),
  open: actionButton("Open", "o", () => openChosen()),
};

function drawButtons() {
  const ones = targets(), { what } = crops;
  show(buttons.confirm, what !== "confirmed");
  show(buttons.reject, what !== "rejected");
  show(buttons.remove, what !== "candidates");
  if (ones.length) buttons.role.firstChild.textContent = roleText(ones);
  for (const button of Object.values(buttons)) button.disabled = !ones.length;
}

async function confirmAll() {
  try {
    const all = await allFrom(thresholdOf(store.className));
    await act(all, (ones) => decide(ones, "confirmed"));
    say(`${counted(all.length, "candidate")} confirmed. Undo takes them back at once.`);
  } catch (error) { complain(error); }
}

/** Others changed something: read anew at once, unless a search would move things under the eye. */
function whenChanged() {
  if (store.mode !== "grid") return;
  if (store.state.search.running && crops.total) draw();
  else renew();
}

export function startGrid() {
  byId("grid-buttons").append(...Object.values(buttons));
  for (const [what, text] of Object.entries(WHATS)) {
    byId("whats").append(make("button", { onclick: () => showWhat(/** @type {any} */ (what)), "data-what": what, "aria-pressed": String(what === crops.what) }, text));
  }
  byId("to-picture").addEventListener("click", () => setMode("picture"));
  byId("to-grid").addEventListener("click", () => setMode("grid"));
  byId("fresh").addEventListener("click", () => begin().then(() => box.focus()));
  byId("confirm-all").addEventListener("click", confirmAll);
  listen(["found"], whenChanged);
  listen(["state", "threshold"], () => { if (store.mode === "grid") draw(); });
  listen(["class"], () => { if (store.mode === "grid") begin(); });
}
