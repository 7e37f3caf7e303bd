// The mask that is being made: points and a box for the network, then brush and eraser. And the mask under the pointer.

import { post } from "./api.js";
import { add, redraw } from "./actions.js";
import { oneAtATime } from "./dom.js";
import { complain, say } from "./messages.js";
import { chooseClass, isOpen, select, store, tell } from "./store.js";

/**
 * @typedef {{points: number[][], box: number[]|null, outline: number[][], mask: string|null, brushed: boolean}} Step
 *   `mask`: the server's token for the exact mask, of which the outline is a little simpler
 */

const PATIENCE_MS = 500; // before a person is told that the network is at work

const empty = () => ({ points: [], box: null, outline: [], mask: null, brushed: false });

export const draft = {
  /** @type {Step} */
  now: empty(),
  /** @type {Step[]} steps before this one */
  before: [],
  /** @type {import("./store.js").Instance|null} object whose outline is changed */
  editing: null,
  /** @type {number[][]} mask under the pointer */
  hover: [],
  /** whether the pointer is where a mask is shown by hovering */
  hovering: false,
  /** an answer of the network is awaited */
  waiting: false,
  /** ... for so long that a person should be told */
  slow: false,
  /** the last question for the present mask */
  asked: Promise.resolve(),
};

export const hasDraft = () => draft.before.length > 0;

/** Whether the mask is that of an object, to be changed; else it becomes a new one. */
export const changesObject = () => draft.editing !== null && !isOpen(draft.editing);

/** Forget the mask that is being made. */
export function dropDraft() {
  Object.assign(draft, { now: empty(), before: [], editing: null, hover: [] });
  tell("draft");
}

/** Ask for a mask; the newest question only is answered. */
const askMask = oneAtATime(async (image, prompt, take) => {
  draft.waiting = true;
  const patience = setTimeout(() => { draft.slow = true; tell("draft"); }, PATIENCE_MS);
  try {
    const answer = await post(`/api/images/${image}/mask`, prompt);
    if (image === store.current) take(answer);
  } finally {
    clearTimeout(patience);
    draft.waiting = draft.slow = false;
    tell("draft");
  }
});

/** Show the mask under a point. @param {number} x @param {number} y */
export function hoverAt(x, y) {
  draft.hovering = true;
  askMask(store.current, { points: [[x, y, 1]], box: null }, (answer) => {
    if (draft.hovering && !hasDraft()) draft.hover = answer.outline;
  }).catch(complain);
}

export function endHover() {
  draft.hovering = false;
  if (!draft.hover.length) return;
  draft.hover = [];
  tell("draft");
}

/** Go on from the present step. @param {Partial<Step>} change */
function step(change) {
  draft.before.push(draft.now);
  draft.now = { ...draft.now, mask: null, ...change };
  draft.hover = [];
  select(null);
  tell("draft");
}

const take = (one, answer) => { Object.assign(one, { outline: answer.outline, mask: answer.mask }); };

/** Ask for the mask of the present step. */
function prompt() {
  const asked = draft.now;
  draft.asked = askMask(store.current, { points: asked.points, box: asked.box }, (answer) => {
    take(asked, answer);
    if (!answer.outline.length && draft.now === asked) say("Nothing was found there. Add a point, or drag a box around it.");
  }).catch((error) => { complain(error); takeBack(); });
}

/** A point that belongs to the object (grows the mask), or one that does not (cuts it). @param {number} x @param {number} y @param {boolean} belongs */
export function addPoint(x, y, belongs) {
  if (draft.now.brushed) {
    say("The brush was used on this mask: go on with brush or eraser, keep it (Enter) or drop it (Esc).");
    return;
  }
  if (!belongs && !hasDraft()) return;
  // What the pointer showed is there at once; the answer of the network replaces it.
  step({ points: [...draft.now.points, [x, y, belongs ? 1 : 0]], outline: hasDraft() ? draft.now.outline : draft.hover });
  prompt();
}

/** @param {number[]} box x1, y1, x2, y2 */
export function addBox(box) {
  if (hasDraft()) dropDraft();
  step({ box });
  prompt();
}

/** @param {{points: number[][], radius: number, erase: boolean}} stroke */
export function addStroke(stroke) {
  const image = store.current, outline = draft.now.outline;
  step({ brushed: true });
  const now = draft.now;
  draft.asked = post(`/api/images/${image}/brush`, { outline, strokes: [stroke] })
    .then((answer) => { take(now, answer); tell("draft"); })
    .catch((error) => { complain(error); takeBack(); });
  return draft.asked;
}

/** Take the last point, box or stroke back. */
export function takeBack() {
  if (!hasDraft()) return;
  draft.now = draft.before.pop();
  if (!hasDraft()) draft.editing = null;
  tell("draft");
}

/** Change the outline of an instance with brush and eraser. @param {import("./store.js").Instance} instance */
export function edit(instance) {
  dropDraft();
  step({ outline: instance.outline, brushed: true });
  draft.editing = instance;
  chooseClass(instance.class);
}

/** Keep the mask. @param {string} name @param {boolean} reference @returns {Promise<boolean>} whether it was kept */
export async function keepDraft(name, reference) {
  await draft.asked;
  const kept = { now: draft.now, before: draft.before, editing: draft.editing };
  const { outline, mask } = kept.now, image = store.current;
  if (!outline.length) { say("There is no mask yet."); return false; }
  dropDraft();
  const answer = kept.editing && !isOpen(kept.editing)
    ? await redraw(kept.editing.id, kept.editing.revision, { outline, mask })
    : await add(image, { outline, mask }, name, reference);
  const made = answer?.objects?.[0];
  if (made && store.current === image && !hasDraft()) select(made.id);
  if (!answer && store.current === image && !hasDraft()) { Object.assign(draft, kept); tell("draft"); } // nothing is lost
  return Boolean(answer);
}
