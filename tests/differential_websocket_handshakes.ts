// SPDX-License-Identifier: Apache-2.0
// differential_websocket_handshakes.ts - cases of upgradeWebSocket(): requests
// that it takes and refuses, and what becomes of the response.

import { attempt } from "./differential_websocket_messages.ts";
import type { Peer, SocketCase } from "./differential_websocket_run.ts";
import { turn } from "./testing.ts";
import { handshake } from "./ws_client.ts";

const bye = (client: Peer): Promise<void> => client.close();

/** A case whose handshake has these fields. */
function fields(
  name: string,
  fields: Record<string, string | null>,
  more: Partial<SocketCase> = {},
): SocketCase {
  return {
    name: `handshake: ${name}`,
    handshakes: true,
    fields,
    client: bye,
    ...more,
  };
}

/** A case whose handler is not the usual one. */
function handled(
  name: string,
  handler: NonNullable<SocketCase["handler"]>,
): SocketCase {
  return { name: `handler: ${name}`, handshakes: true, handler, client: bye };
}

const offers = (protocols: string): Record<string, string> => ({
  "Sec-WebSocket-Protocol": protocols,
});

// Where the words are those of the engine.
function classOf(action: () => unknown): string {
  try {
    action();
    return "no error";
  } catch (error) {
    return (error as Error).constructor.name;
  }
}

const requests: SocketCase[] = [
  fields("plain", {}),
  fields("Upgrade is a list", { Upgrade: "h2c, WebSocket" }),
  fields("Connection is a list", { Connection: "keep-alive, upgrade" }),
  fields("no Upgrade", { Upgrade: null }),
  fields("another Upgrade", { Upgrade: "h2c" }),
  fields("no Connection", { Connection: null }),
  fields("another Connection", { Connection: "keep-alive" }),
  fields("no key", { "Sec-WebSocket-Key": null }),
  fields("a foreign origin", { Origin: "http://example.org" }),
  fields("permessage-deflate is offered", {
    "Sec-WebSocket-Extensions": "permessage-deflate",
  }),
  fields("no version", { "Sec-WebSocket-Version": null }),
  fields("a malformed key", { "Sec-WebSocket-Key": "short" }),
  {
    ...fields("POST", {}),
    request: handshake("/").replace("GET", "POST"),
  },
];

const protocols: SocketCase[] = [
  fields("a subprotocol", offers("a, b"), { options: { protocol: "b" } }),
  fields("a subprotocol of a list without blanks", offers("a,b"), {
    options: { protocol: "b" },
  }),
  fields("a subprotocol that is not offered", offers("a, b"), {
    options: { protocol: "c" },
  }),
  fields("a subprotocol where none is offered", {}, {
    options: { protocol: "c" },
  }),
  fields("the subprotocol that is empty", {}, { options: { protocol: "" } }),
  fields("a subprotocol that is not chosen", offers("a, b")),
  fields("the socket tells its subprotocol", offers("a, b"), {
    options: { protocol: "b" },
    server: (socket, note) => note(socket.protocol),
  }),
];

const handlers: SocketCase[] = [
  handled("waits before it returns", async (request, upgrade, note) => {
    const { socket, response } = upgrade(request);
    await turn();
    note(`${socket.readyState}`);
    return response;
  }),
  handled("listens after it was asked", (request, upgrade, note) => {
    const { socket, response } = upgrade(request);
    queueMicrotask(() =>
      socket.addEventListener("open", () => note("heard open"))
    );
    return response;
  }),
  handled("adds a field", (request, upgrade) => {
    const { response } = upgrade(request);
    response.headers.set("x-more", "1");
    return response;
  }),
  handled("makes the response anew", (request, upgrade) => {
    const { response } = upgrade(request);
    const anew = new Response(response.body, response);
    anew.headers.set("x-more", "1");
    return anew;
  }),
  handled("looks at the response", (request, upgrade, note) => {
    const { response } = upgrade(request);
    note(`${response.status} ${response.body} ${response.bodyUsed}`);
    return response;
  }),
  handled("looks at the fields of the response", (request, upgrade, note) => {
    const { response } = upgrade(request);
    note([...response.headers.keys()].join());
    return response;
  }),
  handled("upgrades twice", (request, upgrade, note) => {
    const { response } = upgrade(request);
    attempt(note, () => upgrade(request));
    return response;
  }),
  handled("upgrades what is no request", (request, upgrade, note) => {
    note(classOf(() => upgrade({ headers: new Headers() } as Request)));
    return upgrade(request).response;
  }),
  handled("gives null for options", (request, upgrade, note) => {
    note(classOf(() => upgrade(request, null as never)));
    return upgrade(request).response;
  }),
  handled("gives an unknown option", (request, upgrade) => {
    return upgrade(request, { timeout: 1 } as never).response;
  }),
];

export const HANDSHAKE_CASES: readonly SocketCase[] = [
  ...requests,
  ...protocols,
  ...handlers,
];
