// SPDX-License-Identifier: Apache-2.0
// site.ts - a directory of files for the tests of lib/files.ts, and what is
// open of it.

import { pattern } from "./testing.ts";

/** Long ago, so that ETags are strong. */
export const CHANGED: Date = new Date("2024-05-06T07:08:09.500Z");

/** A temporary directory, which goes away with everything in it. */
export class Site implements Disposable {
  readonly root: string;
  /** The directory that is served; its parent holds what must not be. */
  readonly www: string;

  constructor() {
    this.root = Deno.makeTempDirSync({ prefix: "millrace-site-" });
    this.www = `${this.root}/www`;
    Deno.mkdirSync(this.www);
  }

  /** Writes a file beneath `www`, with the directories above it. */
  put(path: string, content: string | Uint8Array): void {
    const name = `${this.www}/${path}`;
    Deno.mkdirSync(name.slice(0, name.lastIndexOf("/")), { recursive: true });
    if (typeof content === "string") Deno.writeTextFileSync(name, content);
    else Deno.writeFileSync(name, content);
    Deno.utimeSync(name, CHANGED, CHANGED);
  }

  /** Writes a file of bytes that all differ from their neighbours. */
  fill(path: string, length: number): Uint8Array<ArrayBuffer> {
    const bytes = pattern(length);
    this.put(path, bytes);
    return bytes;
  }

  /** Descriptors of files in this directory that the process has open. */
  open(): number {
    return [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      try {
        return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith(this.root);
      } catch {
        return false; // the one that the list was read through
      }
    }).length;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.root, { recursive: true });
  }
}
