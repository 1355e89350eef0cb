// SPDX-License-Identifier: Apache-2.0
// response_copies.ts - gives the memory of large bodies back once they are staged: Deno makes a copy of the bytes that a
// Response is made of, which nobody else sees; used by response_parts.ts and response_writer.ts.
//
// To wait for the garbage collector instead costs more than to send the body: it runs once for every few dozen of them,
// and each copy is made in memory that is cold or even new.

/** What Deno's Response keeps its body in. */
export interface BodyHolder {
  streamOrStatic: { body: string | Uint8Array } | ReadableStream<Uint8Array>;
}

// Copies from here on are given back.
const COPY_BYTES = 16 * 1024;

// Copies that clones of their Response have too.
const shared = new WeakSet<Uint8Array>();

let known = false;

/** Whether somebody else may have a body, which is all that a Response holds. */
export function isCopy(body: string | Uint8Array): body is Uint8Array {
  return known && typeof body !== "string" && body.length >= COPY_BYTES &&
    // A subclass may make its copies elsewhere.
    Object.getPrototypeOf(body) === Uint8Array.prototype &&
    body.length === body.buffer.byteLength && !shared.has(body);
}

/** Gives the memory of a copy back; it is empty from then on. */
export function releaseCopy({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/**
 * Learns whether Deno makes copies, and from here on of clones. `holderOf` gives what a Response of bytes keeps its body
 * in. Without it, or where Deno has changed, nothing is a copy.
 */
export function learnCopies(
  holderOf: (response: Response) => BodyHolder,
): void {
  try {
    watchClones(
      Object.getPrototypeOf(holderOf(new Response(new Uint8Array()))),
    );
    known = true;
    known = copiesWork(holderOf);
  } catch {
    known = false;
  }
}

// A clone has the same copy, and nothing in the Response shows that there is one. The class is Deno's own, which no
// application sees.
function watchClones(prototype: { clone(this: BodyHolder): BodyHolder }): void {
  const { clone } = prototype;
  prototype.clone = function (this: BodyHolder): BodyHolder {
    const content = this.streamOrStatic;
    if ("body" in content && content.body instanceof Uint8Array) {
      shared.add(content.body);
    }
    return clone.call(this);
  };
}

function copiesWork(holderOf: (response: Response) => BodyHolder): boolean {
  const bytes = new Uint8Array(COPY_BYTES);
  return [bytes, bytes.buffer].every((content) => {
    const response = new Response(content);
    const alone = bytesIn(holderOf(response));
    const wasCopy = isCopy(alone) && alone.buffer !== bytes.buffer;
    const cloned = bytesIn(holderOf(response.clone()));
    return wasCopy && !isCopy(alone) && !isCopy(cloned);
  });
}

function bytesIn({ streamOrStatic }: BodyHolder): string | Uint8Array {
  return "body" in streamOrStatic ? streamOrStatic.body : "";
}
