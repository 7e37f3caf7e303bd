// Starts the page.

import { search, travel } from "./actions.js";
import { startClasses } from "./classes.js";
import { startDeck } from "./deck.js";
import { openExport } from "./dialogs.js";
import { byId, counted, show } from "./dom.js";
import { setMode, startGrid } from "./grid.js";
import { help, startKeys } from "./keys.js";
import { complain } from "./messages.js";
import { startPointer } from "./pointer.js";
import { listen, store } from "./store.js";
import { startStrip } from "./strip.js";
import { openImage, start } from "./sync.js";

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function drawBar() {
  const { name, search: run, undo, redo } = store.state;
  byId("project").textContent = name;
  document.title = `${name} · No Time To Train`;
  const bar = byId("search-bar");
  show(bar, Boolean(run.running));
  bar.max = Math.max(1, run.total ?? 1);
  bar.value = run.done ?? 0;
  byId("search-text").textContent = run.running ? `${run.done.toLocaleString("en")} of ${counted(run.total, "image")}`
    : run.why ? capital(run.why) : counted(run.done, "image searched", "images searched");
  byId("search-text").title = store.state.models ?? "";
  for (const [which, what] of [["undo", undo], ["redo", redo]]) {
    const text = { undo: "Undo", redo: "Redo" }[which];
    byId(which).disabled = !what;
    byId(which).title = what ? `${text}: ${what}` : text;
  }
}

/** The picture to begin with: that of the address, the one looked at last, the first to do. */
function firstImage() {
  const asked = location.hash.length > 1 ? Number(location.hash.slice(1)) : NaN;
  const known = [asked, store.state.view].find((id) => store.placeOf.has(id));
  return known ?? (store.rows.find((row) => row.status === "todo") ?? store.rows[0])?.id ?? null;
}

async function main() {
  byId("undo").addEventListener("click", () => travel("undo"));
  byId("redo").addEventListener("click", () => travel("redo"));
  byId("search").addEventListener("click", search);
  byId("export").addEventListener("click", openExport);
  byId("help").addEventListener("click", help);
  listen(["state"], drawBar);
  startPointer();
  startDeck();
  startStrip();
  startGrid();
  startClasses();
  startKeys();
  setMode("picture");
  await start();
  const first = firstImage();
  if (first !== null) await openImage(first);
  window.addEventListener("hashchange", () => {
    const id = Number(location.hash.slice(1));
    if (store.placeOf.has(id)) openImage(id);
  });
  document.body.dataset.ready = "yes";
}

main().catch(complain);
