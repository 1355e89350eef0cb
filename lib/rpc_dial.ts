// SPDX-License-Identifier: Apache-2.0
// rpc_dial.ts - from the address of a server of the action router to a transport; used by rpc.ts.

import { connect as connectSocket } from "./connect.ts";
import { LENGTH_BYTES } from "./packet.ts";
import type { Dial } from "./rpc_client.ts";
import type { RpcClientSettings } from "./rpc_client_options.ts";
import {
  closeError,
  MessageTransport,
  queueFor,
  StreamTransport,
} from "./rpc_transport.ts";
import { type Socket, watch as watchSocket } from "./socket.ts";
import { watch } from "./ws_base_socket.ts";
import { connectWebSocket } from "./ws_client.ts";
import type { ClientWebSocket } from "./ws_client_socket.ts";

/** How to connect to an address. Throws a TypeError when it is none. */
export function dialOf(
  address: string | URL,
  settings: RpcClientSettings,
): Dial {
  const url = String(address);
  if (/^wss?:/i.test(url)) return dialWebSocket(url, settings);
  if (/^unix:./.test(url)) {
    return dialStream({ path: url.slice("unix:".length) }, settings);
  }
  const tcp = /^tcp:\/\/(\[[\da-f:.%]+\]|[^:/?#\[\]\s]+):(\d{1,5})\/?$/i.exec(
    url,
  );
  if (tcp !== null) {
    const hostname = tcp[1]!.replace(/^\[|\]$/g, "");
    return dialStream({ hostname, port: Number(tcp[2]) }, settings);
  }
  throw new TypeError(
    `Cannot make a client: the address must be like ws://host:port/path, tcp://host:port or unix:path, is ${
      JSON.stringify(url)
    }`,
  );
}

function dialStream(
  target: { hostname: string; port: number } | { path: string },
  settings: RpcClientSettings,
): Dial {
  const { protocol, connectTimeout, localAddress, maxPacketBytes, backend } =
    settings;
  if (protocol !== undefined) {
    throw new TypeError(
      'Cannot make a client: "protocol" is for WebSockets alone',
    );
  }
  return async (connect, signal) => {
    await connectSocket<StreamTransport | undefined>({
      ...target as { path: string },
      data: undefined,
      // A server may have nothing to say for long. That it is gone shows when it is called.
      idleTimeout: 0,
      maxQueueBytes: queueFor(maxPacketBytes),
      connectTimeout,
      ...localAddress !== undefined && { localAddress },
      backend,
      signal,
    }, {
      open(socket): void {
        socket.data = new StreamTransport(
          socket,
          maxPacketBytes,
          connect,
          (promise) => watchSocket(socket as Socket<unknown>, promise),
        );
      },
      data: (socket, chunk) => socket.data?.data(chunk),
      drain: (socket) => socket.data?.drain(),
      end: (socket) => socket.data?.end(),
      close: (socket, error) => socket.data?.closed(error),
    });
  };
}

function dialWebSocket(url: string, settings: RpcClientSettings): Dial {
  const { protocol, connectTimeout, localAddress, maxPacketBytes, backend } =
    settings;
  type Carried = { transport: MessageTransport | undefined };
  return async (connect, signal) => {
    const socket = connectWebSocket<Carried>(url, {
      open(socket): void {
        socket.data.transport = new MessageTransport(
          // Its address is known once it is open.
          socket as ClientWebSocket<Carried> & { remoteAddr: Deno.Addr },
          connect,
          (promise) => watch(socket, promise),
        );
      },
      message: (socket, message) => socket.data.transport?.message(message),
      drain: (socket) => socket.data.transport?.drain(),
      close: (socket, code, reason) =>
        socket.data.transport?.closed(closeError(code, reason)),
    }, {
      data: { transport: undefined },
      signal,
      connectTimeout,
      maxMessageBytes: maxPacketBytes - LENGTH_BYTES,
      maxQueueBytes: queueFor(maxPacketBytes),
      backend,
      ...localAddress !== undefined && { localAddress },
      ...protocol !== undefined && { protocols: protocol },
    });
    await socket.opened;
  };
}
