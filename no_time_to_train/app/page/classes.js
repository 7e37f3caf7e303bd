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

/** Scores of the candidates of the chosen class. @type {{name: string, scores: number[]}} */
let stored = { name: "", scores: [] };
/** The slider is being moved: what the server says does not move it. */
let held = false;

const readScores = oneAtATime(async () => {
  const name = store.className;
  stored = { name, scores: name ? (await get(`/api/counts?class=${encodeURIComponent(name)}`)).scores : [] };
  drawDetails();
});

const reaching = (threshold) => stored.scores.filter((score) => score >= threshold).length;

// What belongs to the chosen class; it moves to the row of that class.
const facts = make("p", { className: "facts" });
const histogram = make("canvas", { className: "histogram", role: "img", "aria-label": "How many candidates have which score" });
const slider = make("input", { type: "range", id: "threshold", min: "0", max: "1", step: "0.01", "aria-describedby": "threshold-text" });
const thresholdText = make("p", { id: "threshold-text", className: "facts" });
const renameButton = make("button", { className: "quiet", onclick: rename }, "Rename");
const details = make("div", { className: "details" },
  make("div", { className: "row" }, facts, renameButton), histogram, slider, thresholdText);

slider.addEventListener("input", () => {
  held = true;
  takeSlider();
  drawDetails();
  tell("threshold");
});
slider.addEventListener("change", () => {
  held = false;
  changeClass(store.className, { threshold: Number(slider.value) });
});

function takeSlider() {
  const one = classOf(store.className);
  one.threshold = Number(slider.value);
  one.above = reaching(one.threshold);
}

async function rename() {
  const name = store.className, given = await askText(`New name of “${name}”`, name);
  if (given && given !== name) changeClass(name, { rename: given });
}

function makeRow(one, index) {
  const button = make("button", { className: "class", onclick: () => chooseClass(one.name) },
    make("span", { className: "swatch" }), make("span", { className: "class-name" }, one.name),
    make("span", { className: "numbers" }, make("b", { className: "good" }), make("span")),
    index < 9 ? make("kbd", { title: "Key that gives this name" }, String(index + 1)) : null);
  const item = make("section", {}, button);
  item.style.setProperty("--c", colourOf(index));
  return item;
}

let names = "";
function draw() {
  const { classes } = store.state, now = JSON.stringify(classes.map((one) => one.name));
  if (now !== names) {
    names = now;
    const empty = make("p", { className: "facts" }, "No names yet. Click on one of your things in the image and say what it is.");
    box.replaceChildren(...(classes.length ? classes.map(makeRow) : [empty]));
  }
  if (held && classOf(store.className)) takeSlider();
  classes.forEach((one, index) => {
    const item = box.children[index], chosen = one.name === store.className, [confirmed, open] = item.querySelector(".numbers").children;
    item.classList.toggle("chosen", chosen);
    item.firstChild.setAttribute("aria-pressed", String(chosen));
    confirmed.textContent = `✓ ${one.confirmed.toLocaleString("en")}`;
    open.textContent = ` ? ${one.above.toLocaleString("en")}`;
    item.firstChild.title = `${one.confirmed} confirmed, ${one.above} to decide`;
    if (chosen && details.parentElement !== item) item.append(details);
  });
  drawDetails();
}

function drawDetails() {
  const one = classOf(store.className);
  if (!one) return;
  facts.textContent = `${counted(one.references, "example")} · ${one.rejected} rejected`;
  slider.setAttribute("aria-label", `Threshold of ${one.name}`);
  if (!held) slider.value = String(one.threshold);
  if (stored.name !== one.name) return;
  thresholdText.textContent = stored.scores.length
    ? `Score ${one.threshold.toFixed(2)} or more: ${reaching(one.threshold)} of ${counted(stored.scores.length, "candidate")}`
    : "No candidates";
  drawHistogram(one.threshold);
}

/** Scores as columns; those at or above the threshold in colour. @param {number} threshold */
function drawHistogram(threshold) {
  const ratio = window.devicePixelRatio || 1, style = getComputedStyle(histogram);
  histogram.width = histogram.clientWidth * ratio;
  histogram.height = histogram.clientHeight * ratio;
  const counts = new Array(BINS).fill(0);
  stored.scores.forEach((score) => { counts[Math.max(0, Math.min(BINS - 1, Math.floor(score * BINS)))] += 1; });
  const most = Math.max(1, ...counts), context = histogram.getContext("2d"), wide = histogram.width / BINS;
  counts.forEach((count, bin) => {
    if (!count) return;
    const high = Math.max(2, Math.sqrt(count / most) * histogram.height);
    context.fillStyle = style.getPropertyValue((bin + 0.5) / BINS >= threshold ? "--accent" : "--line-2");
    context.fillRect(bin * wide + 0.5, histogram.height - high, Math.max(1, wide - 1), high);
  });
}

function whenCandidatesChange() {
  const count = classOf(store.className)?.candidates;
  if (store.className !== stored.name || count !== stored.scores.length) readScores().catch(complain);
}

export function startClasses() {
  const toggle = byId("side-toggle");
  toggle.addEventListener("click", () => {
    toggle.setAttribute("aria-expanded", String(toggle.getAttribute("aria-expanded") !== "true"));
    drawDetails();
  });
  new ResizeObserver(drawDetails).observe(histogram);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawDetails);
  listen(["state", "class"], draw);
  listen(["class", "found", "state"], whenCandidatesChange);
}
