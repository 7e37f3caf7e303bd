// The row under the picture: what is chosen, the name of a new mask, the buttons.

import { classify, decide, remove, roleText, toggleDone, toggleRole } from "./actions.js";
import { askText } from "./dialogs.js";
import { actionButton, byId, counted, make, show } from "./dom.js";
import { changesObject, draft, dropDraft, edit, hasDraft, keepDraft } from "./draft.js";
import { choose, tool } from "./pointer.js";
import { currentRow, isOpen, listen, scoreText, select, selectedInstance, store, visible } from "./store.js";

const name = byId("name"), form = byId("name-form");

/** Confirm or reject the chosen instance and choose the next one to decide. @param {"confirmed"|"rejected"} state */
export function decideSelected(state) {
  const one = selectedInstance();
  if (!one) return;
  const open = visible().filter(isOpen);
  const at = open.findIndex((other) => other.id === one.id);
  const next = at >= 0 ? open[at + 1] ?? open[at - 1] : null;
  decide([one], state);
  select(next?.id ?? (state === "confirmed" ? one.id : null));
}

/** @param {(instances: import("./store.js").Instance[]) => any} action */
export function withSelected(action) {
  const one = selectedInstance();
  if (one) action([one]);
}

/** Enter: keep the mask that is made, or confirm what is chosen. */
export function enter() {
  if (!hasDraft()) { decideSelected("confirmed"); return; }
  keep();
}

/** Give the mask that is made, or the chosen instance, the class of this number. @param {number} index */
export function nameByNumber(index) {
  const one = store.state.classes[index];
  if (!one) return;
  if (hasDraft()) keep(one.name);
  else withSelected((instances) => classify(instances, one.name));
}

/** @param {string} [given] */
async function keep(given) {
  const called = (given ?? (name.value.trim() || store.className)).trim();
  if (!called) { name.focus(); return; }
  byId("canvas").focus({ preventScroll: true });
  if (await keepDraft(called, byId("as-reference").checked)) { name.value = ""; if (tool !== "point") choose("point"); }
}

/** Type the name of the mask that is made, or of the chosen instance. */
export async function nameIt() {
  if (hasDraft()) { name.focus(); name.select(); return; }
  const one = selectedInstance(), given = one && await askText("What is it?", one.class);
  if (given && given !== one.class) classify([one], given);
}

export function editSelected() {
  const one = selectedInstance();
  if (!one || hasDraft()) return false;
  edit(one);
  return true;
}

function describeSelected(one) {
  if (isOpen(one)) return [one.class, scoreText(one) && `score ${scoreText(one)}`, "to decide"].filter(Boolean).join(" · ");
  const role = { reference: " · an example", negative: " · an example of what it is not" }[one.role] ?? "";
  return `${one.class} · ${one.state}${role}`;
}

function describeDraft() {
  if (draft.slow) return "One moment …";
  if (tool === "brush" || tool === "eraser") return "Paint what belongs to it, wipe what does not; then keep it.";
  return "Click more of it. Shift-click, or Cut, takes away.";
}

function describePicture() {
  const row = currentRow();
  if (!row) return "";
  if (draft.slow) return "Looking at the image for the first time …";
  const open = visible().filter(isOpen).length, confirmed = visible().length - open;
  if (!store.state.classes.length) return "Click on one of your things.";
  return `${confirmed} confirmed · ${counted(open, "to decide", "to decide")}`;
}

/** What can be done with the chosen instance; made once, so that the focus stays. */
const buttons = {
  confirm: actionButton("Confirm", "Enter", () => decideSelected("confirmed"), "good"),
  reject: actionButton("Reject", "Backspace", () => decideSelected("rejected"), "bad"),
  role: actionButton("As an example", "r", () => withSelected(toggleRole)),
  redraw: actionButton("Redraw", "b", () => { editSelected(); choose("brush"); }),
  remove: actionButton("Delete", "Del", () => { withSelected(remove); select(null); }),
};

/** @param {import("./store.js").Instance} one */
function drawButtons(one) {
  show(buttons.confirm, one.state !== "confirmed");
  show(buttons.reject, one.state !== "rejected");
  buttons.role.firstChild.textContent = roleText([one]);
  show(buttons.remove, !isOpen(one));
}

function draw() {
  const one = hasDraft() ? null : selectedInstance(), changes = changesObject();
  const row = currentRow();
  byId("picture-text").textContent = one ? describeSelected(one) : hasDraft() ? describeDraft() : describePicture();
  show(form, hasDraft());
  show(name, !changes);
  show(form.querySelector(".check"), !changes);
  show(byId("instance-buttons"), Boolean(one));
  if (one) drawButtons(one);
  name.placeholder = store.className || "What is it?";
  const done = byId("done");
  done.textContent = row?.status === "done" ? "Not done" : "Done";
  done.classList.toggle("main", row?.status !== "done");
  show(done, !hasDraft() && !one);
  if (document.activeElement?.closest("[hidden]")) byId("canvas").focus({ preventScroll: true });
}

function drawNames() {
  byId("names").replaceChildren(...store.state.classes.map((one) => make("option", { value: one.name })));
}

export function startDeck() {
  byId("instance-buttons").append(...Object.values(buttons));
  form.addEventListener("submit", (event) => { event.preventDefault(); keep(); });
  byId("drop").addEventListener("click", () => { dropDraft(); choose("point"); });
  byId("done").addEventListener("click", toggleDone);
  name.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); byId("canvas").focus(); }
  });
  listen(["detail", "selected", "draft", "state", "class", "rows", "threshold"], draw);
  listen(["state"], drawNames);
}
