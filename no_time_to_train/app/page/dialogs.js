// Export, the list of keys, and a question for one line of text.

import { post } from "./api.js";
import { byId, make } from "./dom.js";
import { complain } from "./messages.js";
import { store } from "./store.js";

const FORMATS = {
  coco: "COCO: one JSON file for most tools and for training",
  yolo: "YOLO: a text file for each image",
  labelme: "labelme: a JSON file for each image",
  cvat: "CVAT: XML to load into CVAT",
  png: "PNG: a black and white mask for each object",
  labelstudio: "Label Studio: JSON to import there",
  index: "Index: a PNG for each class and image, with a number for each object",
  csv: "CSV: how many of each class in each image, and the size of each object",
  crops: "Crops: a small image of each object, cut out along its mask",
  parquet: "Parquet: a table with a row for each object",
};

/** @param {string} title @param {...(Node|string)} children @returns {any} an open dialog that goes when it is closed */
function open(title, ...children) {
  const dialog = make("dialog", { "aria-label": title }, make("h2", {}, title), ...children);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  dialog.scrollTop = 0; // the focus may be on a button at its end
  return dialog;
}

/** @param {string} question @param {string} value @returns {Promise<string|null>} */
export function askText(question, value) {
  return new Promise((resolve) => {
    const input = make("input", { value, maxLength: 80, "aria-label": question });
    input.setAttribute("list", "names");
    const form = make("form", { method: "dialog" }, input, make("div", { className: "row end" }, make("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), make("button", { className: "main" }, "OK")));
    let answer = null;
    form.addEventListener("submit", () => { answer = input.value.trim(); });
    const dialog = open(question, form);
    dialog.addEventListener("close", () => resolve(answer));
    input.select();
  });
}

const KEPT = "ntt-export";

/** What was chosen last time. @returns {{formats: string[], what: string, memory: boolean}} */
function lastChoice() {
  try { return { formats: ["coco"], what: "confirmed", memory: true, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") }; } catch { return { formats: ["coco"], what: "confirmed", memory: true }; }
}

export function openExport() {
  const last = lastChoice(), { classes, formats } = store.state;
  const sum = (field) => classes.reduce((total, one) => total + (one[field] ?? 0), 0);
  const box = (name, value, checked, text, type = "checkbox") => make("label", { className: "check" }, make("input", { type, name, value, checked }), text);
  const result = make("div", { className: "result", role: "status" });
  const go = make("button", { className: "main" }, "Export");
  const form = make("form", {},
    make("fieldset", {}, make("legend", {}, "What"),
      box("what", "confirmed", last.what !== "all", `What is confirmed (${sum("confirmed").toLocaleString("en")})`, "radio"),
      box("what", "all", last.what === "all", `And the ${sum("above").toLocaleString("en")} candidates at or above their threshold`, "radio")),
    make("fieldset", {}, make("legend", {}, "Files"), ...formats.map((name) => box("format", name, last.formats.includes(name), FORMATS[name] ?? name)),
      box("memory", "yes", last.memory, "Memory: your examples, for ntt predict --memory")),
    result,
    make("div", { className: "row end" }, make("button", { type: "button", onclick: () => dialog.close() }, "Close"), go));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const choice = { formats: data.getAll("format"), what: data.get("what"), memory: data.has("memory") };
    try { localStorage.setItem(KEPT, JSON.stringify(choice)); } catch { /* a browser that keeps nothing */ }
    go.disabled = true;
    result.replaceChildren("Writing …");
    try {
      const { folder, files } = await post("/api/export", choice);
      result.replaceChildren("Written into ", make("code", {}, folder), make("ul", {}, ...files.slice(0, 12).map((file) => make("li", {}, file)),
        ...(files.length > 12 ? [make("li", {}, `and ${files.length - 12} more`)] : [])));
    } catch (error) { result.replaceChildren(); complain(error); result.append(error.message); }
    go.disabled = false;
  });
  const dialog = open("Export", form);
}

/** @param {{title: string, keys: [string[], string][]}[]} groups */
export function openHelp(groups) {
  const dialog = open("Keys",
    make("div", { className: "keys" }, ...groups.map(({ title, keys }) => make("section", {}, make("h3", {}, title),
      make("dl", {}, ...keys.flatMap(([names, text]) => [
        make("dt", {}, ...names.flatMap((name, n) => (n ? [" ", make("kbd", {}, name)] : [make("kbd", {}, name)]))),
        make("dd", {}, text)]))))),
    make("form", { method: "dialog", className: "row end" }, make("button", { className: "main" }, "Close")));
  return dialog;
}
