// Keeps the store true: reads from the server, follows its events.

import { follow, get, post, TAB } from "./api.js";
import { byId, oneAtATime, show } from "./dom.js";
import { applyFilter, chooseClass, classOf, reaches, select, store, tell } from "./store.js";
import { complain } from "./messages.js";

const FEW = 12; // changed rows that are read one by one; more: all at once
const STATE_MS = 700; // between readings of the state while a search runs

export const readState = oneAtATime(async () => {
  store.state = await get("/api/state");
  if (!classOf(store.className)) chooseClass(store.state.classes[0]?.name ?? "");
  tell("state");
});

const readRows = oneAtATime(async () => {
  store.rows = await get("/api/images");
  store.placeOf = new Map(store.rows.map((row, place) => [row.id, place]));
  applyFilter();
  tell("rows");
});

/** Read the image that is looked at. */
const readDetail = oneAtATime(async () => {
  const id = store.current, { changes } = store;
  if (id === null) return;
  const detail = await get(`/api/images/${id}`);
  if (id !== store.current || store.writing || changes !== store.changes) return; // it is read again after a change
  store.detail = detail;
  takeRow(detail);
  tell("detail", "rows");
});

/** The row of an image, from its details. @param {import("./store.js").Detail} detail */
function takeRow({ objects, candidates, ...row }) {
  const place = store.placeOf.get(row.id);
  if (place === undefined) return;
  const confirmed = objects.filter((one) => one.state === "confirmed");
  store.rows[place] = { ...row, objects: confirmed.length, candidates: candidates.filter(reaches).length };
}

/** Look at an image. @param {number} id @param {string|null} [chosen] instance to choose in it */
export async function openImage(id, chosen = null) {
  if (store.current !== id) {
    store.current = id;
    store.detail = null;
    select(null);
    tell("detail", "rows");
    history.replaceState(null, "", `#${id}`);
    post("/api/view", { image: id }).catch(complain);
  }
  await readDetail().catch(complain);
  if (chosen && store.current === id) select(chosen);
}

/** Read again what these images changed. @param {number[]} images */
export async function refresh(images) {
  const others = images.filter((id) => id !== store.current);
  const reading = [readState()];
  if (images.includes(store.current)) reading.push(readDetail());
  if (others.length > FEW) reading.push(readRows());
  else reading.push(...others.map(async (id) => takeRow(await get(`/api/images/${id}`))));
  await Promise.all(reading);
  applyFilter();
  tell("rows", "found");
}

let stateDue = 0;
function readStateSoon() {
  stateDue ||= setTimeout(() => { stateDue = 0; readState().catch(complain); }, STATE_MS);
}

function whenFound({ image, ...counts }) {
  const row = store.rows[store.placeOf.get(image)];
  if (row) Object.assign(row, counts);
  if (image === store.current) readDetail().catch(complain);
  applyFilter();
  tell("rows", "found");
  readStateSoon();
}

function whenSearch(search) {
  store.state.search = search;
  tell("state");
  if (!search.running && greeted) refreshAll().catch(complain);
  greeted = true;
}

async function refreshAll() {
  await Promise.all([readState(), readRows(), readDetail()]);
  tell("found");
}

/** How often the events began, and whether the server has said since how its search stands. */
let begun = 0, greeted = false;

/** Read what happened while nobody listened. */
async function whenOpen() {
  begun += 1;
  greeted = false;
  show(byId("broken"), false);
  const { revision } = store.state;
  if (begun === 1) await readState();
  if (begun > 1 || store.state.revision !== revision) await refreshAll();
}

function whenLost() {
  byId("broken").textContent = "The program is not answering. If ntt app was stopped, start it again and open the address that it prints. Nothing that you did is lost.";
  show(byId("broken"), true);
}

/** First reading, then events. */
export async function start() {
  await Promise.all([readState(), readRows()]);
  follow({
    open: () => whenOpen().catch(complain),
    lost: whenLost,
    op: ({ images, tab }) => { if (tab !== TAB) (images ? refresh(images) : refreshAll()).catch(complain); },
    found: whenFound,
    search: whenSearch,
  });
}
