// SPDX-License-Identifier: Apache-2.0
// ingest_send.ts - sends events to ingest.ts, no more of them at a time than are soon acknowledged;
// deno run --allow-net --allow-ffi examples/ingest_send.ts --events 10000

import { parseArgs } from "@std/cli/parse-args";
import { type ClientWebSocket, connectWebSocket } from "../mod.ts";

const USAGE =
  `Usage: deno run --allow-net --allow-ffi examples/ingest_send.ts [options]

  --url URL     where ingest.ts listens (default "ws://127.0.0.1:9001/ws")
  --events N    how many to send (default 10000)
  --json        send JSON instead of bytes
  --help        print this`;

const UNACKNOWLEDGED_MAX = 5_000;

function eventOf(sequence: number, json: boolean): string | Uint8Array {
  if (json) return JSON.stringify({ sequence, value: Math.random() });
  const event = new DataView(new ArrayBuffer(16));
  event.setUint32(0, sequence);
  event.setFloat64(8, Math.random());
  return new Uint8Array(event.buffer);
}

interface Outcome {
  batches: number;
  bad: number;
  seconds: number;
}

/** Resolves when all events are acknowledged; rejects when that cannot be. */
async function sendAll(
  url: string,
  events: number,
  json: boolean,
): Promise<Outcome> {
  const last = { received: 0, bad: 0 };
  let sent = 0;
  let batches = 0;
  let ended = "";
  const sendMore = (socket: ClientWebSocket): void => {
    const end = Math.min(last.received + UNACKNOWLEDGED_MAX, events);
    while (sent < end) socket.send(eventOf(sent++, json));
  };
  const socket = connectWebSocket(url, {
    open: sendMore,
    message(socket, text): void {
      const { type, received, bad } = JSON.parse(String(text));
      if (type !== "ack") return;
      batches++;
      Object.assign(last, { received, bad });
      if (received < events) sendMore(socket);
      else socket.close();
    },
    close: (_socket, code, reason) => void (ended = `${code} ${reason}`.trim()),
  });
  await socket.opened;
  const begun = performance.now();
  await socket.finished;
  const seconds = (performance.now() - begun) / 1000;
  if (last.received >= events) return { batches, bad: last.bad, seconds };
  throw new Error(
    `Cannot send all events to ${url}: closed after ${last.received} (${ended})`,
  );
}

function usageError(text: string): never {
  console.error(`${text}\nTry --help`);
  Deno.exit(2);
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["url", "events"],
    boolean: ["json", "help"],
    default: { url: "ws://127.0.0.1:9001/ws", events: "10000" },
    unknown: (arg) => usageError(`unknown argument "${arg}"`),
  });
  if (flags.help) {
    console.log(USAGE);
    Deno.exit();
  }
  if (!/^[1-9]\d{0,8}$/.test(flags.events)) {
    usageError(`--events must be an integer from 1, is "${flags.events}"`);
  }
  const events = Number(flags.events);
  try {
    const outcome = await sendAll(flags.url, events, flags.json);
    const { batches, bad, seconds } = outcome;
    console.log(
      `${events} events in ${seconds.toFixed(2)} s, ${batches} batches of ${
        (events / batches).toFixed(1)
      } on average, ${bad} bad`,
    );
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
