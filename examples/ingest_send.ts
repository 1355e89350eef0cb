// SPDX-License-Identifier: Apache-2.0
// ingest_send.ts - sends events to ingest.ts, no more of them at a time than are soon acknowledged;
// deno run --allow-net examples/ingest_send.ts --events 10000

import { parseArgs } from "@std/cli/parse-args";

const USAGE = `Usage: deno run --allow-net examples/ingest_send.ts [options]

  --url URL     where ingest.ts listens (default "ws://127.0.0.1:9001/ws")
  --events N    how many to send (default 10000)
  --json        send JSON instead of bytes
  --help        print this`;

const UNACKNOWLEDGED_MAX = 5_000;

function eventOf(
  sequence: number,
  json: boolean,
): string | DataView<ArrayBuffer> {
  if (json) return JSON.stringify({ sequence, value: Math.random() });
  const event = new DataView(new ArrayBuffer(16));
  event.setUint32(0, sequence);
  event.setFloat64(8, Math.random());
  return event;
}

interface Outcome {
  batches: number;
  bad: number;
  seconds: number;
}

/** Resolves when all events are acknowledged; rejects when the connection ends before. */
function sendAll(
  url: string,
  events: number,
  json: boolean,
): Promise<Outcome> {
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  const socket = new WebSocket(url);
  let sent = 0;
  let batches = 0;
  let begun = 0;
  const sendUpTo = (end: number): void => {
    while (sent < Math.min(end, events)) socket.send(eventOf(sent++, json));
  };
  socket.onopen = (): void => {
    begun = performance.now();
    sendUpTo(UNACKNOWLEDGED_MAX);
  };
  socket.onmessage = ({ data }): void => {
    const { type, received, bad } = JSON.parse(data);
    if (type !== "ack") return;
    batches++;
    sendUpTo(received + UNACKNOWLEDGED_MAX);
    if (received < events) return;
    resolve({ batches, bad, seconds: (performance.now() - begun) / 1000 });
    socket.close();
  };
  socket.onclose = ({ code, reason }): void =>
    reject(new Error(`Cannot send to ${url}: closed, ${code} ${reason}`));
  return promise;
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["url", "events"],
    boolean: ["json", "help"],
    default: { url: "ws://127.0.0.1:9001/ws", events: "10000" },
  });
  const events = Number(flags.events);
  if (flags.help || !(events >= 1)) {
    console.log(USAGE);
    Deno.exit(flags.help ? 0 : 2);
  }
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
