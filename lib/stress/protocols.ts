// SPDX-License-Identifier: Apache-2.0
// protocols.ts - which protocol a plan speaks; used by crew.ts and worker.ts.

import { type Codec, json, raw } from "../codec.ts";
import { HttpProtocol } from "./http_wire.ts";
import type { Protocol } from "./lane.ts";
import type { Plan } from "./options.ts";
import { RpcProtocol } from "./rpc_wire.ts";
import { TcpProtocol } from "./tcp_wire.ts";
import { WsProtocol } from "./ws_wire.ts";

/** The protocol of a plan. */
export async function protocolOf(plan: Plan): Promise<Protocol> {
  switch (plan.kind) {
    case "ws":
      return new WsProtocol(plan);
    case "http":
      return new HttpProtocol(plan);
    case "tcp":
      return new TcpProtocol(plan);
    case "rpc":
      return new RpcProtocol(plan, await codecOf(plan));
  }
}

async function codecOf({ codec }: Plan): Promise<Codec> {
  if (codec === "json") return json;
  if (codec === "raw") return raw as Codec;
  // Only who asks for it needs its library.
  return (await import("../codec_msgpack.ts")).msgpack;
}
