// SPDX-License-Identifier: Apache-2.0
// rpc_app.ts - an application of the action router: its routes, listeners and life; made by rpc.ts.

import { type Codec, json, requireCodec } from "./codec.ts";
import { Executor } from "./executor.ts";
import { HEAD_BYTES, LARGEST_PACKET, LENGTH_BYTES } from "./packet.ts";
import { requireKnown } from "./route_options.ts";
import type { RpcConnection } from "./rpc_connection.ts";
import type { RpcContext } from "./rpc_context.ts";
import {
  type Acceptor,
  type Listener,
  openWebSocketListener,
  type RpcWebSocketListenOptions,
  type RpcWebSocketOptions,
  type RpcWebSocketRoute,
  webSocketRoute,
} from "./rpc_listen.ts";
import {
  Peer,
  type PeerCounters,
  type PeerHost,
  type ReplyOrder,
} from "./rpc_peer.ts";
import {
  requireTimeout,
  Router,
  type RpcHandler,
  type RpcMiddleware,
  type RpcRouteOptions,
} from "./rpc_router.ts";
import type { Transport, TransportEvents } from "./rpc_transport.ts";
