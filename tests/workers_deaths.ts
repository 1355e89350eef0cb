// SPDX-License-Identifier: Apache-2.0
// workers_deaths.ts - the ways in which a worker may end without having been told to; imported by workers_app.ts.

import { sleep } from "./testing.ts";

/** In which a request can have a worker end, by its query. */
export const DEATHS = [
  "exit",
  "throw",
  "reject",
  "ffi",
  "ffi-throw",
  "stream",
  "body",
  "message",
  "accept",
] as const;

/** How a worker ends. */
export type Death = typeof DEATHS[number] | "stall" | "forever";

/** Longer than any worker of the tests may be silent. */
const STALL_MS = 4000;

const CODE = 3;

// At module level: a library stays open.
const { symbols: libc } = Deno.dlopen("libc.so.6", {
  qsort: {
    parameters: ["buffer", "usize", "usize", "function"],
    result: "void",
  },
});

/** Whether the next plain socket is the end. */
let isArmed = false;

/** Ends this worker, now or with what comes next. */
export async function die(
  way: string | null,
  request: Request,
): Promise<Response> {
  switch (way) {
    case "throw":
      queueMicrotask(() => {
        throw new Error("asked to die");
      });
      break;
    case "reject":
      void Promise.reject(new Error("asked to die"));
      break;
    case "ffi":
      callBack(() => Deno.exit(CODE));
      break;
    case "ffi-throw":
      setTimeout(() =>
        callBack(() => {
          throw new Error("asked to die");
        })
      );
      break;
    case "stream":
      return new Response(lastWords());
    case "body":
      await request.body!.getReader().read();
      Deno.exit(CODE);
      break;
    case "accept":
      isArmed = true;
      break;
    case "stall":
      spin(STALL_MS);
      break;
    case "forever":
      spin(Infinity);
      break;
    default:
      Deno.exit(CODE);
  }
  return new Response("dying");
}

/** Ends this worker when it was told to do so with its next socket. */
export function dieWhenArmed(): void {
  if (isArmed) Deno.exit(CODE);
}

/** Ends this worker in the midst of what it was sent. */
export function dieOf(message: string): void {
  if (message === "die") Deno.exit(CODE);
}

/** Does nothing else. */
export function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

// In JavaScript that C has called.
function callBack(fn: () => void): void {
  const callback = new Deno.UnsafeCallback(
    { parameters: ["pointer", "pointer"], result: "i32" },
    () => {
      fn();
      return 0;
    },
  );
  try {
    libc.qsort(new Uint8Array(2), 2n, 1n, callback.pointer);
  } finally {
    // What the runtime has for it would outlive the worker.
    callback.close();
  }
}

// A body that never comes to its end.
function lastWords(): ReadableStream<Uint8Array> {
  let chunks = 0;
  return new ReadableStream({
    async pull(controller): Promise<void> {
      if (chunks++ > 1) Deno.exit(CODE);
      controller.enqueue(new Uint8Array(1000));
      await sleep(1);
    },
  });
}
