// SPDX-License-Identifier: Apache-2.0
// registry.ts - who is subscribed to which topic in all workers, as an object; pairs with c/registry.c, used by
// lib/mail_sender.ts and lib/mail_office.ts.

import { constants } from "node:os";
import { unwrap } from "./errno.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";

/** Where a registry lies, for other isolates of this process: what `postMessage` can carry. */
export interface RegistryAddress {
  address: bigint;
  places: number;
}

/** A topic has begun or ended. */
export interface TopicChange {
  service: number;
  topic: string;
  change: "first" | "last";
}

/** What a registry holds. */
export interface RegistryStatistics {
  /** Topics that somebody is subscribed to, and those whose end is still to be told. */
  topics: number;
  /** Subscribers of all of them. */
  subscribers: number;
  /** Topics with a wildcard. */
  patterns: number;
  /** Bytes of memory. */
  bytes: number;
}

/** What a change of a topic means to who made it. */
export interface SetAnswer {
  /** The topic has begun or ended by that. */
  changed: boolean;
  /** The supervisor has to look. */
  listed: boolean;
}

// So that a runaway of subscriptions ends in an error and not with the process.
const MAX_MIB = 1024;
const CHANGES_BYTES = 64 * 1024;
const CHANGED: SetAnswer = { changed: true, listed: false };
const UNCHANGED: SetAnswer = { changed: false, listed: false };
const { ENOMEM } = constants.errno;
const NO_PLACE = 0xffffffff;
// Most bytes of UTF-8 that a character of a string may take.
const BYTES_PER_CHARACTER = 3;
const SCRATCH_BYTES = 1024;

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** Struct mr_registry. Opened by one isolate, which closes it when no other one uses it any longer. */
export class Registry {
  /** For `Registry.at()` in another isolate. */
  readonly address: RegistryAddress;
  /** Of the last `find()`: the places that have subscribers. */
  readonly found: Uint32Array<ArrayBuffer>;
  /** How many subscribers those places have; the other fields mean nothing. */
  readonly counts: Uint32Array<ArrayBuffer>;
  readonly #shim = library();
  readonly #pointer: Deno.PointerObject;
  // Where names are encoded.
  #scratch: Uint8Array<ArrayBuffer> = new Uint8Array(SCRATCH_BYTES);

  private constructor(address: RegistryAddress) {
    this.address = address;
    this.#pointer = Deno.UnsafePointer.create(address.address)!;
    this.found = new Uint32Array(Math.ceil(address.places / 32));
    this.counts = new Uint32Array(address.places);
  }

  /** Opens one for so many workers; `watched` when `changes("supervisor")` will be asked for. */
  static open(places: number, watched: boolean): Registry {
    const out = new BigUint64Array(1);
    unwrap(
      library().mr_registry_open(places, watched ? 1 : 0, MAX_MIB, out),
      "make a registry of topics",
    );
    return new Registry({ address: out[0]!, places });
  }

  /** That of another isolate. */
  static at(address: RegistryAddress): Registry {
    return new Registry(address);
  }

  /** The number of the server that listens on an address. */
  service(address: string): number {
    const length = this.#encode(address, "share topics of a server");
    return unwrap(
      this.#shim.mr_registry_service(this.#pointer, this.#scratch, length),
      `share topics of the server on ${address}`,
    );
  }

  /** How many subscribers a place has to a topic from here on. Throws without memory; then nothing has changed. */
  set(
    service: number,
    place: number,
    topic: string,
    count: number,
  ): SetAnswer {
    const length = this.#encode(topic, "share the topic");
    const answer = this.#shim.mr_registry_set(
      this.#pointer,
      service,
      place,
      this.#scratch,
      length,
      count,
    );
    if (answer === 0) return UNCHANGED;
    if (answer === layout.TOPIC_CHANGED) return CHANGED;
    if (answer === -ENOMEM) {
      throw new Error(
        `Cannot subscribe to "${topic}": the topics of all workers take ${MAX_MIB} MiB, or memory is short`,
      );
    }
    unwrap(answer, "count subscribers");
    return {
      changed: (answer & layout.TOPIC_CHANGED) !== 0,
      listed: (answer & layout.TOPIC_LISTED) !== 0,
    };
  }

  /** Looks up who has subscribers to a topic, but for one place; returns their number. */
  find(service: number, topic: string, except: number = NO_PLACE): number {
    const length = this.#encode(topic, "look up the topic");
    return this.#shim.mr_registry_find(
      this.#pointer,
      service,
      except,
      this.#scratch,
      length,
      this.found,
      this.counts,
    );
  }

  /** Removes all subscribers of a place whose worker is gone; returns how many topics have ended by that. */
  abandon(place: number): number {
    const answer = this.#shim.mr_registry_abandon(this.#pointer, place);
    return unwrap(answer, `remove the subscribers of worker ${place}`);
  }

  /** What has not been told yet: of topics that ended with their worker, or to the supervisor. */
  changes(observer: "workers" | "supervisor"): TopicChange[] {
    const who = observer === "workers" ? layout.WORKERS : layout.SUPERVISOR;
    const out = new Uint8Array(CHANGES_BYTES);
    const changes: TopicChange[] = [];
    for (;;) {
      const length = unwrap(
        this.#shim.mr_registry_changes(this.#pointer, who, out, out.length),
        "look for topics that have changed",
      );
      if (length === 0) return changes;
      readChanges(out.subarray(0, length), changes);
    }
  }

  /** What it holds. */
  statistics(): RegistryStatistics {
    const out = new BigUint64Array(layout.REGISTRY_STATS_BYTES / 8);
    this.#shim.mr_registry_stats(this.#pointer, out);
    const read = (offset: number): number => Number(out[offset / 8]!);
    return {
      topics: read(layout.REGISTRY_STATS_TOPICS),
      subscribers: read(layout.REGISTRY_STATS_SUBSCRIBERS),
      patterns: read(layout.REGISTRY_STATS_PATTERNS),
      bytes: read(layout.REGISTRY_STATS_HELD_BYTES),
    };
  }

  /** Frees it, once. */
  close(): void {
    this.#shim.mr_registry_close(this.#pointer);
  }

  // Writes a name to the scratch memory, which may be another one then. Two strings that are not well-formed may be the
  // same in UTF-8.
  #encode(name: string, action: string): number {
    const most = name.length * BYTES_PER_CHARACTER;
    if (most > this.#scratch.length) {
      this.#scratch = new Uint8Array(
        Math.min(most, layout.TOPIC_BYTES + BYTES_PER_CHARACTER),
      );
    }
    const { read, written } = ENCODER.encodeInto(name, this.#scratch);
    if (read < name.length || written > layout.TOPIC_BYTES) {
      throw new RangeError(
        `Cannot ${action}: names that workers share are of at most ${layout.TOPIC_BYTES} bytes; this one has ${name.length} characters`,
      );
    }
    if (written !== name.length && !name.isWellFormed()) {
      throw new TypeError(
        `Cannot ${action}: names that workers share must be well-formed, without half a character`,
      );
    }
    return written;
  }
}

function readChanges(
  bytes: Uint8Array<ArrayBuffer>,
  changes: TopicChange[],
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const service = view.getUint32(at + layout.TOPIC_CHANGE_SERVICE, true);
    const live = view.getUint32(at + layout.TOPIC_CHANGE_LIVE, true);
    const length = view.getUint32(at + layout.TOPIC_CHANGE_LENGTH, true);
    const name = at + layout.TOPIC_CHANGE_BYTES;
    at = name + length;
    const topic = DECODER.decode(bytes.subarray(name, at));
    changes.push({ service, topic, change: live !== 0 ? "first" : "last" });
  }
}
