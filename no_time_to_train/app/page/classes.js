// The classes: colour, counts, and the threshold of the chosen one as a slider over the stored scores.

import { get } from "./api.js";
import { changeClass } from "./actions.js";
import { askText } from "./dialogs.js";
import { byId, counted, make, oneAtATime } from "./dom.js";
import { complain } from "./messages.js";
import { colourOf } from "./palette.js";
import { chooseClass, classOf, listen, store, tell } from "./store.js";

const box = byId("classes");
const BINS = 50;

/** @type {{name: string, scores: number[]}} scores of the chosen class, low first */
let stored = { name: "", scores: [] };

const readScores = oneAtATime(async () => {
  const name = store.className;
  if (!name) { stored = { name: "", scores: [] }; return; }
  const { scores } = await get(`/api/counts?class=${encodeURIComponent(name)}`);
  stored = { name, scores: [...scores].sort((a, b) => a - b) };
  drawThreshold();
});

/** How many scores reach a threshold. @param {number} threshold */
const reaching = (threshold) => stored.scores.filter((score) => score >= threshold).length;

function row(one, index) {
  const chosen = one.name === store.className;
  const head = make("button", { className: "class", "aria-pressed": String(chosen), onclick: () => chooseClass(one.name) },
    make("span", { className: "swatch" }), make("span", { className: "class-name" }, one.name),
    make("span", { className: "numbers", title: `${one.confirmed} confirmed, ${one.candidates} found and not decided` },
      make("b", { className: "good" }, `✓ ${one.confirmed.toLocaleString("en")}`), ` ? ${one.candidates.toLocaleString("en")}`),
    index < 9 ? make("kbd", { title: "Key that gives this name" }, String(index + 1)) : null);
  const item = make("section", { className: chosen ? "chosen" : "" }, head);
  item.style.setProperty("--c", colourOf(index));
  if (chosen) item.append(details(one));
  return item;
}

function details(one) {
  const value = one.threshold.toFixed(2);
  const slider = make("input", { type: "range", id: "threshold", min: "0", max: "1", step: "0.01", "aria-label": `Threshold of ${one.name}`, "aria-describedby": "threshold-text" });
  slider.value = value;
  slider.addEventListener("input", () => {
    classOf(one.name).threshold = Number(slider.value);
    classOf(one.name).above = reaching(Number(slider.value));
    drawThreshold();
    tell("threshold");
  });
  slider.addEventListener("change", () => changeClass(one.name, { threshold: Number(slider.value) }));
  return make("div", { className: "details" },
    make("p", { className: "facts" }, `${counted(one.references, "example")} · ${one.rejected} rejected`),
    make("canvas", { id: "histogram", role: "img", "aria-label": "How many candidates have which score" }),
    slider,
    make("div", { className: "row" }, make("p", { id: "threshold-text" }),
      make("button", { className: "quiet", onclick: () => rename(one.name) }, "Rename")));
}

async function rename(name) {
  const given = await askText(`New name of “${name}”`, name);
  if (given && given !== name) changeClass(name, { rename: given });
}

function drawThreshold() {
  const one = classOf(store.className), text = byId("threshold-text");
  if (!one || !text || stored.name !== one.name) return;
  text.textContent = stored.scores.length
    ? `${reaching(one.threshold)} of ${stored.scores.length} score ${one.threshold.toFixed(2)} or more`
    : "No candidates yet";
  drawHistogram(byId("histogram"), one);
}

/** Scores as columns; those at or above the threshold in colour. */
function drawHistogram(canvas, one) {
  const ratio = window.devicePixelRatio || 1, style = getComputedStyle(canvas);
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const counts = new Array(BINS).fill(0);
  stored.scores.forEach((score) => { counts[Math.max(0, Math.min(BINS - 1, Math.floor(score * BINS)))] += 1; });
  const most = Math.max(1, ...counts), context = canvas.getContext("2d"), wide = canvas.width / BINS;
  counts.forEach((count, bin) => {
    if (!count) return;
    const high = Math.max(2, Math.sqrt(count / most) * canvas.height);
    context.fillStyle = (bin + 0.5) / BINS >= one.threshold ? style.getPropertyValue("--accent") : style.getPropertyValue("--line-2");
    context.fillRect(bin * wide + 0.5, canvas.height - high, Math.max(1, wide - 1), high);
  });
}

let drawn = "";
/** Rows are made anew only when they changed: a slider that is being moved stays. */
function draw() {
  const key = JSON.stringify([store.className, store.state.classes.map(({ above, ...one }) => one)]);
  if (key === drawn || document.activeElement?.id === "threshold" && sameButThreshold(key)) { drawThreshold(); return; }
  drawn = key;
  const held = document.activeElement?.id;
  box.replaceChildren(...store.state.classes.map(row));
  if (!store.state.classes.length) box.append(make("p", { className: "facts" }, "No names yet. Click on one of your things in the picture and say what it is."));
  if (held === "threshold") byId("threshold")?.focus();
  drawThreshold();
}

function sameButThreshold(key) {
  const plain = (text) => text.replaceAll(/"threshold":[^,}]+/g, "");
  return plain(key) === plain(drawn);
}

export function startClasses() {
  const toggle = byId("side-toggle");
  toggle.addEventListener("click", () => {
    const open = toggle.getAttribute("aria-expanded") !== "true";
    toggle.setAttribute("aria-expanded", String(open));
    drawThreshold();
  });
  listen(["state", "class"], draw);
  listen(["class", "found", "state"], () => { if (store.className !== stored.name || classOf(store.className)?.candidates !== stored.scores.length) readScores().catch(complain); });
}
