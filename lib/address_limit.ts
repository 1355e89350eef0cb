// SPDX-License-Identifier: Apache-2.0
// address_limit.ts - how many connections one address may have; used by http_server.ts when it is to count them.

import type { Connection } from "./connection.ts";

/** Counts connections by the address of their peer. */
export class AddressLimit {
  readonly #most: number;
  readonly #counts = new Map<string, number>();
  readonly #keys = new Map<number, string>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Counts a connection in, unless its address has as many as it may; `address` is "host port". */
  admit(handle: number, address: string): boolean {
    // A peer that is gone already has no address any more.
    if (address === "") return true;
    const key = addressKey(address);
    const count = this.#counts.get(key) ?? 0;
    if (count >= this.#most) return false;
    this.#counts.set(key, count + 1);
    this.#keys.set(handle, key);
    return true;
  }

  /** Counts a connection out that is closed, whether it was counted in or not. */
  release(handle: number): void {
    const key = this.#keys.get(handle);
    if (key === undefined) return;
    this.#keys.delete(handle);
    const count = this.#counts.get(key)!;
    if (count === 1) this.#counts.delete(key);
    else this.#counts.set(key, count - 1);
  }

  /** Addresses with a connection. */
  get size(): number {
    return this.#counts.size;
  }
}

/** A connection that was one too many: whatever it has said is not looked at. */
export class RefusedConnection implements Connection {
  readonly handle: number;

  constructor(handle: number) {
    this.handle = handle;
  }

  receive(): void {}

  drain(): void {}

  lost(): void {}
}

/** What counts as one address: an IPv4 address, or the 64 bits of an IPv6 address that its site was given. */
export function addressKey(address: string): string {
  const host = address.split(" ", 1)[0]!;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host);
  if (mapped !== null) return mapped[1]!;
  if (!host.includes(":")) return host;
  const [left = "", right] = host.split("::");
  const before = left === "" ? [] : left.split(":");
  const after = right ? right.split(":") : [];
  const zeros = Array(Math.max(0, 8 - before.length - after.length)).fill("0");
  const groups = right === undefined ? before : [...before, ...zeros, ...after];
  return groups.slice(0, 4).join(":");
}
