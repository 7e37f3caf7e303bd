// A list of any length of which only the part in view has elements.

import { make } from "./dom.js";

const MARGIN = 1; // lines above and below the part in view
const REST_MS = 90; // pictures are asked for when scrolling has rested this long

/**
 * @param {HTMLElement} box scrolls; its children are made here
 * @param {{
 *   size: () => {width: number, height: number, across: boolean, columns: number},
 *   fill: (element: HTMLElement, index: number) => void,
 *   key: (index: number) => string|number,
 *   moved?: (first: number, last: number) => void,
 * }} how `size` of an item in CSS pixels; `across`: scrolls sideways, in one row; `fill` makes the item say
 *   what it is; `key`: an item that changes its place takes its element, with its picture, along; `moved`: which items are in view
 */
export function virtualList(box, how) {
  const floor = make("div", { className: "floor", role: "presentation" });
  box.append(floor);
  /** @type {Map<string|number, any>} elements by their keys */
  const made = new Map();
  let total = 0, rest = 0, asked = false;

  /** Pictures of items that fly past are not asked for. */
  function loadPictures() {
    for (const image of floor.querySelectorAll("img[data-src]")) {
      image.src = image.dataset.src;
      image.removeAttribute("data-src");
    }
  }

  function draw(everything) {
    const { width, height, across, columns } = how.size();
    const lines = Math.ceil(total / columns), length = across ? width : height;
    floor.style.width = across ? `${total * width}px` : "";
    floor.style.height = across ? "" : `${lines * height}px`;
    const from = across ? box.scrollLeft : box.scrollTop;
    const seen = across ? box.clientWidth : box.clientHeight;
    const first = Math.max(0, Math.floor(from / length) - MARGIN) * columns;
    const last = Math.min(total, (Math.ceil((from + seen) / length) + MARGIN) * columns);
    const wanted = new Map();
    for (let index = first; index < last; index += 1) wanted.set(how.key(index), index);
    for (const [key, element] of made) {
      if (!wanted.has(key)) { element.remove(); made.delete(key); }
    }
    for (const [key, index] of wanted) {
      let element = made.get(key);
      if (!element) {
        element = make("div", { className: "item", role: "option" });
        made.set(key, element);
        floor.append(element);
      } else if (!everything && element.index === index) continue;
      element.index = index;
      element.id = `${box.id}-${index}`;
      element.style.width = `${width}px`;
      element.style.height = `${height}px`;
      element.style.transform = across
        ? `translate(${index * width}px, 0)`
        : `translate(${(index % columns) * width}px, ${Math.floor(index / columns) * height}px)`;
      element.setAttribute("aria-setsize", String(total));
      element.setAttribute("aria-posinset", String(index + 1));
      how.fill(element, index);
    }
    how.moved?.(first, last);
    clearTimeout(rest);
    rest = setTimeout(loadPictures, REST_MS);
  }

  function soon() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(false); });
  }
  box.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(() => draw(true)).observe(box);

  return {
    /** Draw anew, with this many items. @param {number} count */
    update(count) { total = count; draw(true); },
    /** Fill again what is in view. */
    refill() { draw(true); },
    /** Bring an item into view. @param {number} index @param {boolean} [middle] */
    reveal(index, middle = false) {
      const { width, height, across, columns } = how.size();
      const length = across ? width : height, seen = across ? box.clientWidth : box.clientHeight;
      const at = Math.floor(index / columns) * length, side = across ? "scrollLeft" : "scrollTop";
      if (middle) box[side] = at - (seen - length) / 2;
      else if (at < box[side]) box[side] = at;
      else if (at + length > box[side] + seen) box[side] = at + length - seen;
      draw(false);
    },
    /** How many lines a page has. */
    page() {
      const { height } = how.size();
      return Math.max(1, Math.floor(box.clientHeight / height));
    },
  };
}

/**
 * Put a picture into an item; asked for when scrolling rests.
 * @param {HTMLImageElement} image @param {string} address
 */
export function setPicture(image, address) {
  if (image.dataset.address === address) return;
  image.dataset.address = address;
  image.dataset.src = address;
  image.removeAttribute("src");
}
