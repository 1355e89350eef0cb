// SPDX-License-Identifier: Apache-2.0
// rpc_millrace.ts - the action router of the contender Millrace; takes the backend, the microseconds to spin, "tcp" or
// "ws", and "json" or "protobuf"; prints its port when it listens.
import { json, rpc } from "../../lib/rpc.ts";
import { protobuf } from "../../lib/codec_protobuf.ts";

interface Person {
  id: number;
  name: string;
  tags: string[];
}

const [backend, spin, protocol, codec] = Deno.args;
if (backend !== "io_uring" && backend !== "epoll") {
  throw new TypeError(
    "Cannot start: the backend is neither io_uring nor epoll",
  );
}

const ACTION = 1;

// What bench/load_packets.c sends, and expects.
const SCHEMA = `
  syntax = "proto3";
  message Person { int32 id = 1; string name = 2; repeated string tags = 3; }
  message Seen {
    int32 id = 1; string name = 2; repeated string tags = 3; bool seen = 4;
  }
`;

const app = rpc({
  codec: codec === "json"
    ? json
    : protobuf({ [ACTION]: { request: "Person", reply: "Seen" } }, SCHEMA),
});
app.route<Person>(ACTION, ({ body }) => ({ ...body, seen: true }));
const options = {
  port: 0,
  hostname: "127.0.0.1",
  backend,
  spin: Number(spin),
} as const;
const listener = protocol === "tcp"
  ? app.listenTcp(options)
  : app.listenWebSocket(options);
await app.start();
console.log((listener.addr as Deno.NetAddr).port);
