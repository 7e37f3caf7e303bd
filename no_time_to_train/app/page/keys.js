// Every key: what it does, where, and its line in the list under "?".

import { remove, search, toggleDone, toggleRole, travel, walk } from "./actions.js";
import { decideSelected, editSelected, enter, nameByNumber, nameIt, withSelected } from "./deck.js";
import { openExport, openHelp } from "./dialogs.js";
import { byId } from "./dom.js";
import { dropDraft, hasDraft, takeBack } from "./draft.js";
import { chooseAll, classifyTargets, decideTargets, moveCursor, openChosen, removeTargets, roleOfTargets, setMode } from "./grid.js";
import { say } from "./messages.js";
import { choose, clickCross, moveCross, resizeBrush } from "./pointer.js";
import { select, store } from "./store.js";
import { fit, redraw, stepInstance, view, zoom } from "./view.js";

/**
 * @typedef {{keys: string[], says?: string, shown?: string[], run: (event: KeyboardEvent) => any}} Key
 */

/** @param {string} name */
const paintWith = (name) => { if (!hasDraft()) editSelected(); choose(name); };
const leave = (go) => (hasDraft() ? say("Keep the mask (Enter) or drop it (Esc) first.") : go());
const undo = () => (store.mode === "picture" && hasDraft() ? takeBack() : travel("undo"));
const redo = () => travel("redo");
const DIRECTION = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @type {Key[]} */
const EVERYWHERE = [
  { keys: ["g"], says: "Image or grid", run: () => setMode(store.mode === "grid" ? "picture" : "grid") },
  { keys: ["/"], says: "Find an image by its name", run: () => byId("jump").focus() },
  { keys: ["Mod+z", "u"], shown: ["Ctrl Z", "u"], says: "Undo", run: undo },
  { keys: ["Mod+Shift+z", "Mod+y", "Shift+u"], shown: ["Ctrl Shift Z", "Shift u"], says: "Redo", run: redo },
  { keys: ["s"], says: "Search the folder again", run: search },
  { keys: ["x"], says: "Export", run: openExport },
  { keys: ["?"], says: "This list", run: () => help() },
];

/** @type {Key[]} */
const PICTURE = [
  { keys: ["j", "PageDown"], shown: ["j", "Page Down"], says: "Next image", run: () => leave(() => walk(1)) },
  { keys: ["k", "PageUp"], shown: ["k", "Page Up"], says: "Image before", run: () => leave(() => walk(-1)) },
  { keys: ["]"], says: "Next object", run: () => stepInstance(1) },
  { keys: ["["], says: "Object before", run: () => stepInstance(-1) },
  { keys: ["Enter"], says: "Keep the mask; confirm the object", run: enter },
  { keys: ["Backspace"], says: "Take the last click back; reject the object", run: () => (hasDraft() ? takeBack() : decideSelected("rejected")) },
  { keys: ["Escape"], shown: ["Esc"], says: "Drop the mask; choose nothing", run: escape },
  { keys: ["n"], says: "Type a name for the mask or the object", run: nameIt },
  { keys: ["r"], says: "Use it as an example, or no longer (of a rejected one: of what it is not)", run: () => withSelected(toggleRole) },
  { keys: ["Delete"], says: "Delete the object", run: () => withSelected(remove) },
  { keys: ["d"], says: "Done, and on to the next", run: () => leave(toggleDone) },
  { keys: ["v"], says: "Point: click takes, Shift-click cuts, drag is a box", run: () => choose("point") },
  { keys: ["c"], says: "Cut: a click cuts", run: () => choose("cut") },
  { keys: ["b"], says: "Brush", run: () => paintWith("brush") },
  { keys: ["e"], says: "Eraser", run: () => paintWith("eraser") },
  { keys: [",", "."], says: "Smaller or larger brush", run: (event) => resizeBrush(event.key === "." ? 1.25 : 0.8) },
  { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].flatMap((key) => [key, `Shift+${key}`]), shown: ["arrows"], says: "Move the cross (Shift: finely)", run: (event) => moveCross(DIRECTION[event.key][0], DIRECTION[event.key][1], event.shiftKey) },
  { keys: ["Space", "Shift+Space"], shown: ["Space"], says: "Click at the cross (Shift: cut)", run: (event) => clickCross(event.shiftKey) },
  { keys: ["+", "="], shown: ["+"], says: "Closer (or the mouse wheel)", run: () => zoom(1.3) },
  { keys: ["-"], says: "Farther", run: () => zoom(1 / 1.3) },
  { keys: ["0"], says: "The whole image", run: fit },
  { keys: ["h"], says: "Hide or show the masks", run: () => { view.hidden = !view.hidden; redraw(); } },
];

const WHERE = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", PageUp: "pageup", PageDown: "pagedown", Home: "first", End: "last" };

/** @type {Key[]} */
const GRID = [
  { keys: Object.keys(WHERE).flatMap((key) => [key, `Shift+${key}`]), shown: ["arrows"], says: "Move (Shift: select many)", run: (event) => moveCursor(WHERE[event.key], event.shiftKey) },
  { keys: ["Mod+a"], shown: ["Ctrl A"], says: "Select all that were read", run: chooseAll },
  { keys: ["Enter"], says: "Confirm", run: () => decideTargets("confirmed") },
  { keys: ["Backspace"], says: "Reject", run: () => decideTargets("rejected") },
  { keys: ["r"], says: "Use it as an example, or no longer (of a rejected one: of what it is not)", run: roleOfTargets },
  { keys: ["Delete"], says: "Delete", run: removeTargets },
  { keys: ["o"], says: "See it in its image", run: openChosen },
];

const numbers = (run) => Array.from({ length: 9 }, (_, n) => /** @type {Key} */ ({ keys: [String(n + 1)], run: () => run(n) }));
const SETS = {
  picture: [...PICTURE, ...numbers(nameByNumber), ...EVERYWHERE],
  grid: [...GRID, ...numbers(classifyTargets), ...EVERYWHERE],
};

function escape() {
  if (hasDraft()) dropDraft();
  else select(null);
  choose("point");
}

const lines = (set) => set.filter((key) => key.says).map((key) => /** @type {[string[], string]} */ ([key.shown ?? key.keys, key.says]));

export function help() {
  const byNumber = /** @type {[string[], string]} */ ([["1", "…", "9"], "Give it the name of that class"]);
  openHelp([
    { title: "Image", keys: [...lines(PICTURE), byNumber] },
    { title: "Grid", keys: [...lines(GRID), byNumber] },
    { title: "Everywhere", keys: lines(EVERYWHERE) },
  ]);
}

/** "Mod+Shift+z", "Shift+ArrowUp", "?". @param {KeyboardEvent} event */
function nameOf(event) {
  const key = event.key === " " ? "Space" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const letter = /^[a-z]$/.test(key), mod = event.ctrlKey || event.metaKey;
  return `${mod ? "Mod+" : ""}${event.shiftKey && (letter || key.length > 1) ? "Shift+" : ""}${key}`;
}

/** @param {KeyboardEvent} event */
function whenKey(event) {
  const at = /** @type {HTMLElement} */ (event.target);
  if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
  if (at.matches("input:not([type=range], [type=checkbox]), select, textarea")) return;
  const name = nameOf(event);
  if (at.matches("button, input") && ["Enter", "Space"].includes(name)) return;
  if (at.matches("input") && name.includes("Arrow")) return;
  const key = SETS[store.mode].find((one) => one.keys.includes(name));
  if (!key) return;
  event.preventDefault();
  key.run(event);
}

export function startKeys() {
  document.addEventListener("keydown", whenKey);
}
