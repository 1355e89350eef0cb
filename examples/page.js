// SPDX-License-Identifier: Apache-2.0
// page.js - what the pages of the examples share: a WebSocket that is opened again when it is lost, and its state.

const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000];
const NO_CLOSE_FRAME = 1006; // which says nothing of the cause

export const el = (id) => document.getElementById(id);

/**
 * Keeps a WebSocket to /ws open. `open(connection)`, `message(data)` and
 * `close()` are called back; the header of the page says how it is.
 */
export class Connection {
  #handlers;
  #socket = null;
  #failures = 0; // since it was last open
  #timer = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    el("reconnect").onclick = () => this.#connect();
    this.#connect();
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Sends text or bytes; false when there is no connection. */
  send(data) {
    if (this.isOpen) this.#socket.send(data);
    return this.isOpen;
  }

  sendJson(value) {
    return this.send(JSON.stringify(value));
  }

  #connect() {
    clearInterval(this.#timer);
    el("reconnect").hidden = true;
    el("countdown").textContent = "";
    show("connecting", "Connecting …");
    const url = new URL("/ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = this.#socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#handlers.message(data);
    socket.onclose = (event) => this.#closed(event);
  }

  #opened() {
    this.#failures = 0;
    show("open", "Connected");
    this.#handlers.open?.(this);
  }

  #closed({ code, reason }) {
    this.#handlers.close?.();
    const why = code === NO_CLOSE_FRAME ? "" : ` (${reason || `code ${code}`})`;
    show("closed", `Disconnected${why}`);
    el("reconnect").hidden = false;
    const delay = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    this.#countDown(performance.now() + delay);
  }

  #countDown(end) {
    const tick = () => {
      const left = Math.ceil((end - performance.now()) / 1000);
      if (left <= 0) return this.#connect();
      el("countdown").textContent = `next try in ${left} s`;
    };
    this.#timer = setInterval(tick, 250);
    tick();
  }
}

function show(state, text) {
  el("state").dataset.state = state;
  el("status").textContent = text;
}

/** Calls a function once before the next frame, however often it is asked to. */
export function onceAFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

/** An element with a text, which is never read as HTML. */
export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

export const whole = (number) => Math.round(number).toLocaleString("en");

export function milliseconds(ms) {
  return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(1)} ms`;
}

/** The value that a share of the values does not exceed. */
export function quantile(ranked, share) {
  return ranked[Math.floor(share * (ranked.length - 1))];
}
