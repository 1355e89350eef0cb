// SPDX-License-Identifier: Apache-2.0
// Tests of mailboxes between isolates: Deno Workers of one process that load
// the shim each for itself.

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type BackendName, Mailboxes } from "../ffi/mod.ts";
import { resolveOptions } from "../lib/options.ts";
import { PollLoop } from "../lib/poll_loop.ts";
import { type Start, VANISH } from "./mailbox_worker.ts";
import {
  assertSameBytes,
  BACKENDS,
  deadline,
  pattern,
  until,
} from "./testing.ts";

const MAIN = 0;

interface Heard {
  tag: number;
  from: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Mailboxes with a loop of this isolate that reads the first one. */
class Post implements AsyncDisposable {
  readonly heard: Heard[] = [];
  readonly mailboxes: Mailboxes;
  readonly loop: PollLoop;
  readonly #backend: BackendName;
  readonly #workers = new Map<number, Worker>();

  constructor(backend: BackendName, count: number, capacity: number) {
    this.#backend = backend;
    this.mailboxes = Mailboxes.open({ count, capacity, maxBytes: 16 << 20 });
    this.loop = new PollLoop({
      ...resolveOptions({ backend, maxConnections: 16, bufferBytes: 8 << 20 }),
    }, () => {
      throw new Error("Nobody can connect");
    });
    const { reactor } = this.loop;
    this.loop.onPosted = (index): void => {
      const { inbox } = reactor;
      const from = inbox.total(index);
      const bytes = reactor.posted(index);
      this.heard.push({ tag: inbox.aux(index), from, bytes });
    };
    reactor.openMailbox(this.mailboxes, MAIN);
  }

  /** Starts a worker that sends back what it is sent, and waits until it reads. */
  async worker(mailbox: number): Promise<Worker> {
    const worker = new Worker(new URL("mailbox_worker.ts", import.meta.url));
    this.#workers.set(mailbox, worker);
    const { address } = this.mailboxes;
    const start: Start = { address, mailbox, backend: this.#backend };
    const reading = once(worker, "message");
    worker.postMessage(start);
    await deadline(reading, "the worker's first word");
    return worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers.values()) await worker.terminate();
    await this.loop.close();
    this.mailboxes.close();
  }
}

function testPost(
  name: string,
  options: { count: number; capacity: number },
  fn: (post: Post) => Promise<void>,
): void {
  for (const backend of BACKENDS) {
    Deno.test(`${name} (${backend})`, async () => {
      await using post = new Post(backend, options.count, options.capacity);
      await deadline(fn(post), "the test");
    });
  }
}

testPost(
  "an isolate hears what another posts, byte for byte",
  { count: 2, capacity: 64 },
  async (post) => {
    await post.worker(1);
    for (const length of [0, 1, 5000, 1 << 20]) {
      assert(post.mailboxes.post(1, pattern(length), length, MAIN));
    }
    await until(() => post.heard.length === 4, "the echoes");
    for (const { tag, from, bytes } of post.heard) {
      assertEquals(from, 1);
      assertSameBytes(bytes, pattern(tag), `the message of ${tag} bytes`);
    }
  },
);

testPost(
  "what is posted to many comes to each of them in order",
  { count: 40, capacity: 8192 },
  async (post) => {
    const readers = [1, 2, 39];
    for (const reader of readers) await post.worker(reader);
    const mask = post.mailboxes.mask();
    for (const reader of readers) mask[reader >> 5]! |= 1 << (reader & 31);
    for (let tag = 0; tag < 2000; tag++) {
      const posted = post.mailboxes.postAll(mask, pattern(9, tag), tag, MAIN);
      assertEquals(posted, readers.length);
    }
    await until(() => post.heard.length === 2000 * 3, "the echoes");
    for (const reader of readers) {
      const mine = post.heard.filter(({ from }) => from === reader);
      assertEquals(mine.length, 2000);
      mine.forEach(({ tag, bytes }, index) => {
        assertEquals(tag, index);
        assertSameBytes(bytes, pattern(9, index), `message ${index}`);
      });
    }
  },
);

testPost(
  "each message wakes whoever sleeps",
  { count: 2, capacity: 64 },
  async (post) => {
    await post.worker(1);
    for (let tag = 1; tag <= 200; tag++) {
      assert(post.mailboxes.post(1, pattern(9), tag, MAIN));
      await until(() => post.heard.length === tag, "the echo");
    }
    const { wakes } = post.mailboxes.statistics(1);
    assert(wakes > 0 && wakes <= 200, `${wakes} wake-ups`);
  },
);

testPost(
  "a full mailbox refuses, counts, and goes on",
  { count: 1, capacity: 2 },
  async (post) => {
    const posted = [1, 2, 3].map((tag) =>
      post.mailboxes.post(MAIN, pattern(3), tag)
    );
    assertEquals(posted, [true, true, false]);
    assertEquals(post.mailboxes.statistics(MAIN).full, 1);
    await until(() => post.heard.length === 2, "both that had room");
    assert(post.mailboxes.post(MAIN, pattern(3), 4));
    await until(() => post.heard.length === 3, "the next one");
    assertEquals(post.heard.map(({ tag }) => tag), [1, 2, 4]);
    assertEquals(post.mailboxes.statistics(MAIN).waiting, 0);
  },
);

testPost(
  "a worker that vanishes leaves its mailbox to the next one",
  { count: 2, capacity: 64 },
  async (post) => {
    const { mailboxes, heard } = post;
    const worker = await post.worker(1);
    const gone = once(worker, "exit");
    mailboxes.post(1, pattern(3), VANISH, MAIN);
    await deadline(gone, "the worker's end");
    // Its thread ends a little later than its JavaScript.
    await until(() => !mailboxes.statistics(1).open, "the thread's end");
    assertEquals(mailboxes.statistics(1).bytes, 0);
    assert(!mailboxes.post(1, pattern(3), 2, MAIN), "nobody is there");
    await post.worker(1);
    assert(mailboxes.post(1, pattern(3), 3, MAIN));
    await until(() => heard.length > 0, "the echo");
    assertEquals(heard.map(({ tag }) => tag), [3]);
  },
);

Deno.test("a post that throws leaves nothing for the next one", () => {
  using mailboxes = Mailboxes.open({
    count: 40,
    capacity: 2,
    maxBytes: 1 << 10,
  });
  assertThrows(() => mailboxes.post(39, new Uint8Array(1 << 10)));
  mailboxes.post(0, pattern(1));
  // Nobody reads either of them.
  assertEquals(mailboxes.statistics(0).lost, 1);
  assertEquals(mailboxes.statistics(39).lost, 0);
});

testPost(
  "misuse throws and says why",
  { count: 2, capacity: 64 },
  async ({ mailboxes, loop }) => {
    assertThrows(
      () => mailboxes.post(2, pattern(1)),
      RangeError,
      "Cannot post to mailbox 2: there are 2",
    );
    assertThrows(() => mailboxes.post(-1, pattern(1)), RangeError);
    assertThrows(
      () => mailboxes.post(MAIN, new Uint8Array(17 << 20)),
      Error,
      "Cannot post a message of 17825792 bytes: it is too long (EMSGSIZE)",
    );
    assertThrows(
      () => Mailboxes.open({ count: 1, capacity: 3, maxBytes: 1 << 20 }),
      RangeError,
      "Cannot open 1 mailboxes for 3 messages of 1048576 bytes",
    );
    assertThrows(
      () => loop.reactor.openMailbox(mailboxes, 1),
      Deno.errors.Busy,
      "Cannot read mailbox 1",
    );
    const others = Mailboxes.at(mailboxes.address);
    others.close();
    assertThrows(() => others.post(MAIN, pattern(1)), Deno.errors.BadResource);
    assert(mailboxes.post(MAIN, pattern(1)));
    await loop.close();
    assert(!mailboxes.post(MAIN, pattern(1)), "the reactor is closed");
    assertThrows(
      () => loop.reactor.openMailbox(mailboxes, 1),
      Deno.errors.NotConnected,
    );
  },
);
