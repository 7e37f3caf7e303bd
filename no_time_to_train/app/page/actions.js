// What a person does to the project: every change goes through here, whoever asks for it.

import { post, write } from "./api.js";
import { counted } from "./dom.js";
import { complain, say } from "./messages.js";
import { chooseClass, classOf, currentRow, isOpen, neighbour, store, tell } from "./store.js";
import { openImage, refresh } from "./sync.js";

let last = Promise.resolve();
/** Images to read again when the last of several quick changes is through. @type {Set<number>} */
const due = new Set();

/**
 * Send operations and read what they changed.
 * @param {object[]} ops
 * @returns {Promise<any|null>} the answer; null: it was refused, and the person was told
 */
function commit(ops) {
  const done = send(ops);
  last = done.catch(() => undefined);
  return done;
}

async function send(ops) {
  let answer = null;
  store.writing += 1;
  store.changes += 1;
  try {
    answer = await write(ops);
    answer.images.forEach((id) => due.add(id));
  } catch (error) {
    (error.body?.objects ?? []).forEach((one) => due.add(one.image));
    if (error.status === 409) say(`Not done: another tab or person changed this meanwhile, and its newest state is shown now. (${error.message})`, "bad");
    else complain(error);
  }
  store.writing -= 1;
  if (!store.writing) {
    if (store.current !== null) due.add(store.current); // what came of it meanwhile was not taken
    const images = [...due];
    due.clear();
    await refresh(images).catch(complain);
  }
  return answer;
}

const revisionsOf = (instances) =>
  Object.fromEntries(instances.filter((one) => one.revision !== undefined).map((one) => [one.id, one.revision]));

/**
 * Confirm or reject.
 * @param {import("./store.js").Instance[]} instances @param {"confirmed"|"rejected"} state
 */
export function decide(instances, state) {
  const ops = instances.filter((one) => one.state !== state);
  if (!ops.length) return Promise.resolve(null);
  if (store.detail) { // shown at once; what the server says comes after
    const ids = new Set(ops.map((one) => one.id));
    const moved = store.detail.candidates.filter((one) => ids.has(one.id));
    store.detail.candidates = store.detail.candidates.filter((one) => !ids.has(one.id));
    store.detail.objects = store.detail.objects.map((one) => (ids.has(one.id) ? { ...one, state } : one));
    store.detail.objects.push(...moved.map((one) => ({ ...one, state, role: null })));
    tell("detail");
  }
  return commit([{ op: "decide", ids: ops.map((one) => one.id), state, revisions: revisionsOf(ops) }]);
}

/** Give instances another class; candidates are confirmed by it. @param {import("./store.js").Instance[]} instances @param {string} name */
export function classify(instances, name) {
  const candidates = instances.filter(isOpen);
  const objects = instances.filter((one) => !isOpen(one) && one.class !== name);
  /** @type {object[]} */
  const ops = objects.map(({ id, revision }) => ({ op: "change", id, revision, class: name }));
  if (candidates.length) {
    ops.push({ op: "decide", ids: candidates.map((one) => one.id), state: "confirmed", class: name, revisions: revisionsOf(candidates) });
  }
  return ops.length ? commit(ops) : Promise.resolve(null);
}

/** What the button of `toggleRole` says. @param {import("./store.js").Instance[]} instances */
export const roleText = (instances) => (instances.every((one) => one.role) ? "No example"
  : instances[0].state === "rejected" ? "Show as wrong" : "As an example");

/**
 * Make examples of confirmed objects and counter-examples of rejected ones, or take that back; a candidate is
 * confirmed by it.
 * @param {import("./store.js").Instance[]} instances
 */
export async function toggleRole(instances) {
  const open = instances.filter(isOpen), makes = instances.some((one) => !one.role);
  const role = (one) => (makes ? (one.state === "rejected" ? "negative" : "reference") : null);
  /** @type {object[]} */
  const ops = instances.filter((one) => !isOpen(one) && (one.role ?? null) !== role(one))
    .map((one) => ({ op: "change", id: one.id, revision: one.revision, role: role(one) }));
  if (open.length) {
    ops.push({ op: "decide", ids: open.map((one) => one.id), state: "confirmed", role: "reference", revisions: revisionsOf(open) });
  }
  const answer = await commit(ops);
  if (answer) say(makes ? "The folder is searched again with what you showed." : "No example any more.");
  return answer;
}

/** Delete objects; what was found comes back as a candidate. @param {import("./store.js").Instance[]} instances */
export function remove(instances) {
  const ops = instances.filter((one) => !isOpen(one)).map(({ id, revision }) => ({ op: "remove", id, revision }));
  return ops.length ? commit(ops) : Promise.resolve(null);
}

/**
 * A new object from a mask that was drawn.
 * @param {number} image @param {{outline: number[][], mask: string|null}} shape @param {string} name @param {boolean} reference
 */
export async function add(image, shape, name, reference) {
  const isNew = !classOf(name);
  const answer = await commit([{ op: "add", image, class: name, ...shape, role: reference ? "reference" : null }]);
  if (answer) {
    chooseClass(name);
    if (isNew && reference) say(`“${name}” is known now: the folder is searched for more.`);
  }
  return answer;
}

/** @param {string} id @param {number} revision @param {{outline: number[][], mask: string|null}} shape */
export const redraw = (id, revision, shape) => commit([{ op: "change", id, revision, ...shape }]);

/** @param {string} name @param {{threshold?: number, rename?: string}} what */
export async function changeClass(name, what) {
  const answer = await commit([{ op: "class", name, ...what }]);
  if (answer && what.rename) chooseClass(what.rename);
  if (answer) await refresh(store.rows.map((row) => row.id)).catch(complain);
  return answer;
}

/** @param {"undo"|"redo"} which */
export async function travel(which) {
  await last; // of a change that was just made, the server knows the name
  const what = store.state[which];
  if (!what) { say(`Nothing to ${which}.`); return; }
  if (await commit([{ op: which }])) say(`${which === "undo" ? "Taken back" : "Done again"}: ${what}`);
}

/** Mark the image done, or to do, and go on. */
export async function toggleDone() {
  const row = currentRow();
  if (!row) return;
  const status = row.status === "done" ? "todo" : "done";
  const next = status === "done" ? neighbour(1) : null;
  if (await commit([{ op: "image", id: row.id, status }]) && next !== null) await openImage(next);
}

/** @param {number} step */
export function walk(step) {
  const next = neighbour(step);
  if (next === null) say(step > 0 ? "This is the last image of the list." : "This is the first image of the list.");
  else openImage(next);
}

export const search = () => post("/api/search", { view: store.current })
  .then(() => say("Searching the folder.")).catch(complain);
