// What the page knows, in one place; who shows a part of it listens to that part.

/**
 * @typedef {{name: string, threshold: number, references: number, confirmed: number, rejected: number,
 *   candidates: number, above: number}} Class
 * @typedef {{id: number, name: string, width: number|null, height: number|null, status: "todo"|"done",
 *   objects: number, candidates: number, doubt: number, error: string|null, classes?: string[]}} Row
 * @typedef {{id: string, image: number, class: string, score: number|null, box: number[],
 *   outline: number[][], revision?: number, state?: "confirmed"|"rejected",
 *   role?: "reference"|"negative"|null, source?: string, doubt?: number}} Instance an object has a `state`,
 *   a candidate has none
 * @typedef {Omit<Row, "objects"|"candidates"> & {objects: Instance[], candidates: Instance[]}} Detail
 */

export const store = {
  /** @type {any} what /api/state says */
  state: { name: "", revision: 0, images: 0, classes: [], search: {}, undo: null, redo: null, formats: [] },
  /** @type {Row[]} */
  rows: [],
  /** @type {Map<number, number>} place of an image in `rows` */
  placeOf: new Map(),
  /** @type {number[]} places in `rows` that the filters let through */
  shown: [],
  filter: { which: "all", class: "", name: "" },
  /** @type {"picture"|"grid"} */
  mode: "picture",
  /** @type {number|null} image that is looked at */
  current: null,
  /** @type {Detail|null} */
  detail: null,
  /** @type {string|null} id of the instance that is chosen in the picture */
  selected: null,
  /** @type {string} class that new masks get and the grid shows */
  className: "",
  /** changes that the server has not answered yet; what it said before them is not shown */
  writing: 0,
  /** changes so far: what the server began to say before the last one is not shown either */
  changes: 0,
};

/** @typedef {"state"|"rows"|"detail"|"selected"|"mode"|"class"|"threshold"|"draft"|"found"} Topic */

/** @type {Map<Topic, Set<() => void>>} */
const listeners = new Map();
/** @type {Set<Topic>} */
const changed = new Set();

/** Call when any of the topics changed; several changes of one frame come as one. @param {Topic[]} topics @param {() => void} listener */
export function listen(topics, listener) {
  for (const topic of topics) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(listener);
  }
}

/** Say what changed. @param {...Topic} topics */
export function tell(...topics) {
  if (!changed.size) queueMicrotask(announce);
  topics.forEach((topic) => changed.add(topic));
}

function announce() {
  const due = new Set([...changed].flatMap((topic) => [...(listeners.get(topic) ?? [])]));
  changed.clear();
  due.forEach((listener) => listener());
}

// ---- questions that several parts ask ----

/** @param {string} name @returns {number} -1: no such class */
export const classIndex = (name) => store.state.classes.findIndex((one) => one.name === name);

/** @param {string} name @returns {Class|undefined} */
export const classOf = (name) => store.state.classes.find((one) => one.name === name);

/** @param {string} name */
export const thresholdOf = (name) => classOf(name)?.threshold ?? 0;

/** Whether it waits for a decision. @param {Instance} one */
export const isOpen = (one) => one.state !== "confirmed" && one.state !== "rejected";

/** @param {Instance} one */
export const scoreText = (one) => (one.score === null || one.score === undefined ? "" : one.score.toFixed(2));

/** Whether a candidate reaches the threshold of its class. @param {Instance} one */
export const reaches = (one) => (one.score ?? 1) >= thresholdOf(one.class);

/** Row of the image that is looked at. @returns {Row|undefined} */
export const currentRow = () => store.rows[store.placeOf.get(store.current)];

/** What the picture shows and lets choose: confirmed objects, then candidates that reach their threshold. @returns {Instance[]} */
export function visible() {
  if (!store.detail) return [];
  const { objects, candidates } = store.detail;
  return [...objects.filter((one) => one.state === "confirmed"), ...candidates.filter(reaches)];
}

/** @returns {Instance|null} */
export const selectedInstance = () =>
  (store.detail && [...store.detail.objects, ...store.detail.candidates].find((one) => one.id === store.selected)) || null;

/** @param {string|null} id */
export function select(id) {
  if (store.selected === id) return;
  store.selected = id;
  tell("selected");
}

/** @param {string} name */
export function chooseClass(name) {
  if (store.className === name) return;
  store.className = name;
  tell("class");
}

/** Which rows the filters let through, in which order. */
export function applyFilter() {
  const { which, class: wanted, name } = store.filter, word = name.trim().toLowerCase();
  const passes = (row) =>
    (which === "all" || (which === "doubtful" ? row.status === "todo" && row.doubt > 0 : row.status === which))
    && (!wanted || (row.classes ?? []).includes(wanted))
    && (!word || row.name.toLowerCase().includes(word));
  store.shown = [];
  store.rows.forEach((row, place) => { if (passes(row)) store.shown.push(place); });
  if (which === "doubtful") store.shown.sort((a, b) => store.rows[b].doubt - store.rows[a].doubt || a - b);
}

/** Image before or after the one that is looked at, among those shown. @param {number} step @returns {number|null} */
export function neighbour(step) {
  const { shown, rows } = store, here = store.placeOf.get(store.current);
  const at = shown.indexOf(here);
  const next = at >= 0 ? at + step : shown.findIndex((place) => place > here) + (step > 0 ? 0 : -1);
  return next >= 0 && next < shown.length ? rows[shown[next]].id : null;
}
