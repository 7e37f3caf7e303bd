// Short messages at the foot of the page.

import { Refused } from "./api.js";
import { byId, make } from "./dom.js";

const STAYS_MS = 6000;

/** @param {string} text @param {"told"|"bad"} [kind] */
export function say(text, kind = "told") {
  const box = byId("messages");
  for (const old of box.children) if (old.textContent === text) old.remove();
  const message = make("p", { className: kind }, text);
  box.append(message);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => message.remove(), STAYS_MS);
}

/** Tell a person what went wrong. @param {unknown} error */
export function complain(error) {
  if (!(error instanceof Refused)) console.error(error);
  say(error instanceof Error ? error.message : String(error), "bad");
}
