// All pictures as a strip of thumbnails, with filters.

import { byId, counted, make } from "./dom.js";
import { applyFilter, currentRow, listen, store, tell } from "./store.js";
import { setMode } from "./grid.js";
import { openImage } from "./sync.js";
import { setPicture, virtualList } from "./virtual.js";

const box = byId("strip"), jump = byId("jump"), which = byId("which"), ofClass = byId("of-class");
const NARROW = matchMedia("(max-width: 50rem)");

/** Size of a thumbnail with its text. */
const size = () => (NARROW.matches
  ? { width: 92, height: 80, across: true, columns: 1 }
  : { width: box.clientWidth, height: 128, across: false, columns: 1 });

const list = virtualList(box, { size, fill, key: (index) => store.rows[store.shown[index]]?.id ?? `none-${index}` });

/** @param {any} element @param {number} index in the list that the filters let through */
function fill(element, index) {
  const row = store.rows[store.shown[index]];
  if (!row) return;
  if (!element.firstChild) {
    element.append(make("img", { alt: "", decoding: "async" }), make("span", { className: "name" }), make("span", { className: "badges" }));
    element.addEventListener("click", () => {
      openImage(store.rows[store.shown[element.index]].id);
      if (store.mode === "grid") setMode("picture");
    });
  }
  const [image, name, badges] = element.children;
  setPicture(image, `/images/${row.id}/thumb`);
  name.textContent = row.name;
  badges.replaceChildren(
    ...(row.objects ? [make("b", { className: "good", title: "confirmed" }, `✓ ${row.objects}`)] : []),
    ...(row.candidates && row.status !== "done" ? [make("b", { className: "open", title: "to decide" }, `? ${row.candidates}`)] : []),
    ...(row.error ? [make("b", { className: "bad", title: row.error }, "!")] : []),
  );
  element.classList.toggle("done", row.status === "done");
  element.setAttribute("aria-selected", String(row.id === store.current));
  element.setAttribute("aria-label", `${row.name}: ${row.objects} confirmed, ${row.candidates} to decide${row.status === "done" ? ", done" : ""}${row.error ? `, ${row.error}` : ""}`);
}

let lastCurrent = null;
function draw() {
  list.update(store.shown.length);
  const at = store.shown.indexOf(store.placeOf.get(store.current));
  if (at >= 0) box.setAttribute("aria-activedescendant", `strip-${at}`);
  if (at >= 0 && lastCurrent !== store.current) {
    list.reveal(at, lastCurrent === null);
    lastCurrent = store.current;
  }
  drawCounter(at);
}

function drawCounter(at) {
  const done = store.rows.filter((row) => row.status === "done").length;
  const many = counted(store.shown.length, "image");
  byId("counter").textContent = `${at >= 0 ? `${(at + 1).toLocaleString("en")} of ` : ""}${many} · ${done.toLocaleString("en")} done`;
}

function drawClasses() {
  const names = store.state.classes.map((one) => one.name);
  const known = [...ofClass.options].slice(1).map((option) => option.value);
  if (names.join("\n") === known.join("\n")) return;
  ofClass.replaceChildren(make("option", { value: "" }, "Class"), ...names.map((name) => make("option", { value: name }, name)));
  ofClass.value = names.includes(store.filter.class) ? store.filter.class : "";
}

function filter() {
  store.filter = { which: which.value, class: ofClass.value, name: jump.value };
  applyFilter();
  tell("rows");
  box.scrollTop = box.scrollLeft = 0;
  if (currentRow() && !store.shown.includes(store.placeOf.get(store.current))) return;
  list.reveal(Math.max(0, store.shown.indexOf(store.placeOf.get(store.current))));
}

/** Open the first picture whose name was typed. @param {KeyboardEvent} event */
function whenTyped(event) {
  if (event.key === "Enter" && store.shown.length) {
    event.preventDefault();
    const exact = store.shown.find((place) => store.rows[place].name === jump.value.trim());
    openImage(store.rows[exact ?? store.shown[0]].id);
    jump.value = "";
    filter();
    byId("canvas").focus();
  } else if (event.key === "Escape") {
    jump.value = "";
    filter();
    byId("canvas").focus();
  }
  event.stopPropagation();
}

/** Arrows walk through the strip. @param {KeyboardEvent} event */
function whenKey(event) {
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 5, PageUp: -5, Home: -Infinity, End: Infinity };
  const step = steps[event.key];
  if (step === undefined || !store.shown.length) return;
  event.preventDefault();
  event.stopPropagation();
  const at = Math.max(0, store.shown.indexOf(store.placeOf.get(store.current)));
  const to = Math.max(0, Math.min(store.shown.length - 1, at + step));
  openImage(store.rows[store.shown[to]].id);
}

export function startStrip() {
  jump.addEventListener("input", filter);
  jump.addEventListener("keydown", whenTyped);
  which.addEventListener("change", filter);
  ofClass.addEventListener("change", filter);
  box.addEventListener("keydown", whenKey);
  NARROW.addEventListener("change", () => list.refill());
  listen(["rows"], draw);
  listen(["state"], drawClasses);
}
