// What the page asks of the server, and nothing else.

/** Names this tab in operations, so that it knows its own when they come back. */
export const TAB = crypto.getRandomValues(new Uint32Array(2)).join("-");

export class Refused extends Error {
  /** @param {string} message @param {number} status of HTTP; 0: no answer @param {any} [body] */
  constructor(message, status, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused("The program does not answer. Is ntt app still running?", 0);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(body.error || `The program answered ${answer.status}.`, answer.status, body);
  return body;
}

/** @param {string} path @returns {Promise<any>} */
export const get = (path) => ask(path, {});

/** @param {string} path @param {any} body @returns {Promise<any>} */
export const post = (path, body) => ask(path, {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-NTT": "1" },
  body: JSON.stringify(body),
});

let last = Promise.resolve();

/** Operations, sent in the order in which they were made. @param {object[]} ops @returns {Promise<any>} */
export function write(ops) {
  const sent = last.then(() => post("/api/ops", { tab: TAB, ops }));
  last = sent.catch(() => undefined);
  return sent;
}

/**
 * Follow the server's events while the tab is seen: browsers allow few connections to one address, so a
 * hidden tab gives its own back and reads everything anew when it is looked at.
 * @param {Record<string, (data: any) => void>} handlers by the name of the event; `open` after each (re)start,
 *   `lost` when the server is gone
 */
export function follow(handlers) {
  let source = null;
  function open() {
    if (source || document.hidden) return;
    source = new EventSource("/api/events");
    source.addEventListener("open", () => handlers.open({}));
    source.addEventListener("error", () => {
      handlers.lost({});
      if (source.readyState === EventSource.CLOSED) source = null;
    });
    for (const name of ["op", "found", "search"]) {
      source.addEventListener(name, (event) => handlers[name](JSON.parse(event.data)));
    }
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; } else open();
  });
  window.addEventListener("pagehide", () => source?.close());
  open();
}
