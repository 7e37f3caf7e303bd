// Small helpers for elements. Text goes in as text only.

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * A new element: properties, `data-…`, `aria-…` and `role` as attributes, then children (text or elements).
 * @param {string} tag @param {Record<string, any>} [with_] @param {...(Node|string|null)} children
 * @returns {any}
 */
export function make(tag, with_ = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(with_)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button with its key beside the text. @param {string} text @param {string} key @param {() => any} onclick @param {string} [className] */
export const actionButton = (text, key, onclick, className = "") =>
  make("button", { onclick, className }, make("span", {}, text), make("kbd", {}, key));

/** Show or hide. @param {HTMLElement} element @param {boolean} shown */
export const show = (element, shown) => { element.hidden = !shown; };

/** "1 image", "20,000 images". @param {number} count @param {string} word @param {string} [many] */
export const counted = (count, word, many = `${word}s`) =>
  `${count.toLocaleString("en")} ${count === 1 ? word : many}`;

/**
 * Runs an asynchronous function once at a time; calls that come meanwhile make it run once more afterwards,
 * with the newest arguments.
 * @template {any[]} A
 * @param {(...args: A) => Promise<void>} work
 * @returns {(...args: A) => Promise<void>}
 */
export function oneAtATime(work) {
  let running = null, next = null;
  return function ask(...args) {
    if (running) { next = args; return running; }
    running = (async () => {
      next = args;
      try {
        while (next) {
          const now = next;
          next = null;
          try { await work(...now); } catch (error) { if (!next) throw error; }
        }
      } finally { running = null; }
    })();
    return running;
  };
}
