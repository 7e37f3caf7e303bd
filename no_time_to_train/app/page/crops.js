// The crops of the grid: read in pages, kept while they are looked at. Nothing moves under the eye by itself:
// what a search finds meanwhile is only counted, until the person asks for it.

import { get } from "./api.js";
import { oneAtATime } from "./dom.js";
import { store } from "./store.js";

const PAGE = 100;

export const crops = {
  /** @type {"candidates"|"confirmed"|"rejected"} */
  what: "candidates",
  className: "",
  total: 0,
  /** @type {(import("./store.js").Instance|undefined)[]} by score, high first; holes are not read yet */
  items: [],
};

const address = (start, count) =>
  `/api/candidates?class=${encodeURIComponent(crops.className)}&what=${crops.what}&start=${start}&count=${count}`;

/** Begin anew. @returns {Promise<void>} */
export const reread = oneAtATime(async (first, last) => {
  crops.className = store.className;
  const what = crops.what, name = crops.className;
  if (!name) { crops.items = []; crops.total = 0; return; }
  const start = Math.floor(first / PAGE) * PAGE;
  const answer = await get(address(start, Math.max(PAGE, last - start)));
  if (what !== crops.what || name !== store.className || store.writing) return;
  crops.items = [];
  answer.items.forEach((item, n) => { crops.items[start + n] = item; });
  crops.total = answer.total;
});

/** Read what is in view and not known. @returns {Promise<boolean>} whether something came */
export const readAhead = async (first, last) => {
  const missing = [];
  for (let i = first; i < Math.min(last, crops.total); i += 1) if (!crops.items[i]) missing.push(i);
  if (!missing.length || reading) return false;
  reading = true;
  const { items } = crops;
  try {
    const start = missing[0];
    const answer = await get(address(start, PAGE));
    if (items !== crops.items) return true;
    const known = new Set(items.filter(Boolean).map((item) => item.id));
    // Decisions made since the first page shift the list: what is there already is not shown twice.
    answer.items.forEach((item, n) => { if (!items[start + n] && !known.has(item.id)) items[start + n] = item; });
    return true;
  } finally { reading = false; }
};
let reading = false;

/** Take decided ones out; the next ones move up. @param {Set<string>} ids */
export function takeOut(ids) {
  const before = crops.items.length;
  const kept = [];
  let gone = 0;
  for (let i = 0; i < before; i += 1) {
    const item = crops.items[i];
    if (item && ids.has(item.id)) gone += 1;
    else if (item) kept[i - gone] = item;
  }
  crops.items = kept;
  crops.total -= gone;
}

/** All items from a score on. @param {number} threshold @returns {Promise<import("./store.js").Instance[]>} */
export async function allFrom(threshold) {
  const all = [];
  for (let start = 0; ; start += 1000) {
    const { items, total } = await get(address(start, 1000));
    all.push(...items.filter((item) => item.score >= threshold));
    if (!items.length || start + items.length >= total || items.at(-1).score < threshold) return all;
  }
}
