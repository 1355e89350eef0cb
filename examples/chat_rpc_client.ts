// SPDX-License-Identifier: Apache-2.0
// chat_rpc_client.ts - a client of chat_rpc.ts for a terminal: lines that are typed are said;
// deno run --allow-net --allow-ffi examples/chat_rpc_client.ts tcp://127.0.0.1:9002 NAME

import { type RpcClient, rpcClient } from "../lib/rpc.ts";
import {
  JOIN,
  type Member,
  MEMBERS,
  SAID,
  type Said,
  SAY,
  type Welcome,
} from "./chat_rpc_actions.ts";

const USAGE =
  "Usage: deno run --allow-net --allow-ffi examples/chat_rpc_client.ts ADDRESS NAME\n\n" +
  "  ADDRESS  tcp://HOST:PORT, or ws://HOST:PORT/ws\n" +
  "  End with Ctrl+D.";

function show({ name, text, at }: Said): void {
  const time = new Date(at).toLocaleTimeString("en-GB");
  // What others have typed must not move the cursor, or colour the terminal.
  const plain = text.replace(/\p{Cc}/gu, "\u{fffd}");
  console.log(
    name === null ? `${time} * ${plain}` : `${time} ${name}: ${plain}`,
  );
}

function showMembers(members: Member[]): void {
  const names = members.map(({ name, transport }) => `${name} (${transport})`);
  console.log(`         Here: ${names.join(", ")}`);
}

async function* lines(): AsyncIterable<string> {
  let rest = "";
  for await (
    const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  ) {
    const all = (rest + text).split("\n");
    rest = all.pop()!;
    yield* all;
  }
  if (rest !== "") yield rest;
}

async function talk(client: RpcClient, name: string): Promise<void> {
  const { members, history } = await client.call<Welcome>(JOIN, { name });
  history.forEach(show);
  showMembers(members);
  for await (const line of lines()) {
    if (line.trim() === "") continue;
    try {
      await client.call(SAY, line);
    } catch (error) {
      console.error((error as Error).message);
      if (!client.open) return;
    }
  }
}

const [address, name] = Deno.args;
if (address === undefined || name === undefined) {
  console.log(USAGE);
  Deno.exit(2);
}
try {
  await using client = await rpcClient(address, {
    pushes: {
      [SAID]: (said) => show(said as Said),
      [MEMBERS]: (members) => showMembers(members as Member[]),
    },
  });
  // A server that has gone is not to wait for the next line.
  const gone = client.closed.then((error) => {
    throw error ?? new Error("The server has closed the connection");
  });
  await Promise.race([talk(client, name), gone]);
} catch (error) {
  console.error((error as Error).message);
  Deno.exit(1);
}
