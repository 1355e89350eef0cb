// SPDX-License-Identifier: Apache-2.0
// Tests of a chat over eight workers of which some end: who is with another one hears all that is said, once and in
// order.

import { assert, assertEquals } from "@std/assert";
import { type BackendName, connectWebSocket } from "../mod.ts";
import { BACKENDS, deadline, until } from "./testing.ts";
import { countOf, WorkersChild } from "./workers_child.ts";

const APP = new URL("./workers_chat_app.ts", import.meta.url);
const WORKERS = 8;
const MEMBERS = 2000;
/** Who connect at the same time. */
const AT_ONCE = 100;
/** Workers that end, one in each round. */
const ENDS = 3;
const ROUNDS = ENDS + 1;
/** Of each speaker in a round. */
const MESSAGES = 6;
const PATIENCE_MS = 120_000;

/** Somebody in the room. */
class ChatMember {
  /** Who serves it. */
  worker = "";
  /** What it has heard of each speaker: how many messages, which is the number of the next one. */
  readonly heard = new Map<number, number>();
  readonly faults: string[] = [];
  gone = false;
  readonly #socket: ReturnType<typeof connectWebSocket>;

  constructor(addr: Deno.NetAddr, backend: BackendName) {
    this.#socket = connectWebSocket(`ws://127.0.0.1:${addr.port}/`, {
      message: (_, message) => this.#hear(String(message)),
      close: () => void (this.gone = true),
    }, { backend });
  }

  say(text: string): void {
    this.#socket.send(text);
  }

  close(): void {
    this.#socket.close();
  }

  #hear(text: string): void {
    const [first, second] = text.split(" ") as [string, string];
    if (first === "worker") {
      this.worker = second;
      return;
    }
    const speaker = Number(first);
    const expected = this.heard.get(speaker) ?? 0;
    if (Number(second) !== expected) {
      this.faults.push(`${second} of ${speaker} in place of ${expected}`);
    }
    this.heard.set(speaker, expected + 1);
  }
}

for (const backend of BACKENDS) {
  Deno.test(`a chat over eight workers of which some end (${backend})`, async () => {
    await using child = await WorkersChild.start(
      { backend, workers: WORKERS, balance: "least" },
      APP,
    );
    const members: ChatMember[] = [];
    try {
      await deadline(chat(child, members, backend), "the test", PATIENCE_MS);
    } finally {
      for (const member of members) member.close();
      await until(() => members.every(({ gone }) => gone), "their end");
    }
    assertEquals((await child.end()).code, 0);
  });
}

async function chat(
  child: WorkersChild,
  members: ChatMember[],
  backend: BackendName,
): Promise<void> {
  await enter(child, members, backend);
  const ids = [...new Set(members.map(({ worker }) => worker))].sort();
  assertEquals(ids.length, WORKERS);
  const speakers = ids.map((id) =>
    members.find(({ worker }) => worker === id)!
  );
  const ended = new Set(ids.slice(0, ENDS));
  for (let round = 0; round < ROUNDS; round++) {
    speakers.forEach((speaker, at) => {
      for (let n = 0; n < MESSAGES; n++) {
        speaker.say(`${at} ${round * MESSAGES + n}`);
      }
    });
    // In the midst of what was just said.
    const victims = members.filter(({ worker }) => worker === ids[round]);
    if (round < ENDS) victims.at(-1)!.say("die");
    await until(
      () => victims.every(({ gone }) => gone) || round === ENDS,
      "it",
    );
  }
  const others = members.filter(({ worker }) => !ended.has(worker));
  await until(() => others.every((member) => hasAll(member, speakers)), "all");
  check(members, others, speakers);
  const view = await child.until(
    ({ events }) => countOf(events, "started") === WORKERS + ENDS,
    "those that follow",
  );
  assertEquals(countOf(view.events, "died"), ENDS);
  // Nobody of an ended worker is left behind.
  assertEquals(view.statistics.connections, others.length);
}

async function enter(
  child: WorkersChild,
  members: ChatMember[],
  backend: BackendName,
): Promise<void> {
  while (members.length < MEMBERS) {
    for (let i = 0; i < AT_ONCE; i++) {
      members.push(new ChatMember(child.addr as Deno.NetAddr, backend));
    }
    await until(() => members.every(({ worker }) => worker !== ""), "entry");
  }
}

// Speakers do not hear themselves.
function hasAll(member: ChatMember, speakers: ChatMember[]): boolean {
  return speakers.every((speaker, at) =>
    at < ENDS || speaker === member ||
    member.heard.get(at) === ROUNDS * MESSAGES
  );
}

function check(
  members: ChatMember[],
  others: ChatMember[],
  speakers: ChatMember[],
): void {
  // Also those who were lost, and what was said by those: nothing twice, nothing left out before the end.
  assertEquals(members.flatMap(({ faults }) => faults), []);
  assertEquals(others.filter(({ gone }) => gone), []);
  assert(others.length > MEMBERS / 2);
  for (const member of others) {
    assertEquals(hasAll(member, speakers), true);
    const own = speakers.indexOf(member);
    assertEquals(member.heard.get(own), undefined);
  }
}
