// SPDX-License-Identifier: Apache-2.0
// codec_protobuf.ts - bodies as Protocol Buffers, by protobufjs; imported by applications that want them, and by
// nobody else, so that others do not load the library.

/**
 * Bodies of the action router as Protocol Buffers.
 *
 * @example
 * ```ts
 * import { rpc } from "@millrace/millrace/rpc";
 * import { protobuf } from "@millrace/millrace/rpc/protobuf";
 *
 * const codec = protobuf({
 *   1: { request: "Sum", reply: "Total" },
 * }, `
 *   syntax = "proto3";
 *   message Sum { repeated int32 parts = 1; }
 *   message Total { int32 value = 1; }
 * `);
 *
 * const app = rpc({ codec });
 * app.route<{ parts: number[] }>(1, ({ body }) => ({
 *   value: body.parts.reduce((a, b) => a + b, 0),
 * }));
 * ```
 *
 * @module
 */

import { parse } from "protobufjs";
import { copyOf } from "./bytes.ts";
import type { BodyKind, Codec } from "./codec.ts";

/** A type of messages, as protobufjs makes and generates it, and generators that do likewise. */
export interface ProtobufType {
  /** Writes a message. */
  encode(message: never): { finish(): Uint8Array };
  /** Reads one. */
  decode(bytes: Uint8Array): unknown;
  /** Says what is wrong with a message; null when nothing is. */
  verify?(message: never): string | null;
}

/** Where types are found by their names: a `Root` of protobufjs. */
export interface ProtobufSchema {
  /** Finds a type; throws when there is none. */
  lookupType(name: string): ProtobufType;
}

/** The messages of one action: types, or their names in the schema. A body whose type is not named is empty. */
export interface ProtobufAction {
  /** What is asked with. */
  request?: ProtobufType | string;
  /** What is answered with. */
  reply?: ProtobufType | string;
  /** What a server sends of its own accord. */
  push?: ProtobufType | string;
}

type Types = Map<BodyKind, ProtobufType>;

const NOTHING = new Uint8Array(0);
const KINDS: readonly BodyKind[] = ["request", "reply", "push"];

/**
 * A codec of Protocol Buffers. Values are what protobufjs makes of them: fields that are missing have their default,
 * and integers of 64 bits are objects of `long`. A message that is not of its type is an error and not sent.
 *
 * @param actions The messages of each action.
 * @param schema What is in a `.proto` file, or a root that protobufjs has loaded, where names are looked up.
 * @returns The codec.
 * @throws {Error} When the schema is malformed, or has no message of that name.
 */
export function protobuf(
  actions: Record<number, ProtobufAction>,
  schema?: string | ProtobufSchema,
): Codec {
  const root = typeof schema === "string"
    ? parse(schema, { keepCase: true }).root
    : schema;
  const all = new Map<number, Types>();
  for (const [action, types] of Object.entries(actions)) {
    all.set(Number(action), typesOf(types, root));
  }
  return {
    encode(value: unknown, action: number, kind: BodyKind): Uint8Array {
      const type = all.get(action)?.get(kind);
      if (type !== undefined) return write(type, value ?? {}, action);
      if (value === undefined) return NOTHING;
      throw new TypeError(
        `Cannot encode the body: no message is named for the ${kind} of ${action}`,
      );
    },
    decode(bytes: Uint8Array, action: number, kind: BodyKind): unknown {
      // Fields of bytes are views of what is decoded.
      return all.get(action)?.get(kind)?.decode(copyOf(bytes));
    },
  };
}

function typesOf(
  action: ProtobufAction,
  root: ProtobufSchema | undefined,
): Types {
  const types: Types = new Map();
  for (const kind of KINDS) {
    const type = action[kind];
    if (type === undefined) continue;
    types.set(kind, typeof type === "string" ? lookUp(type, root) : type);
  }
  return types;
}

function lookUp(name: string, root: ProtobufSchema | undefined): ProtobufType {
  if (root !== undefined) return root.lookupType(name);
  throw new TypeError(
    `Cannot look up the message "${name}": a schema must be given`,
  );
}

function write(type: ProtobufType, value: unknown, action: number): Uint8Array {
  const message = value as never;
  const problem = type.verify?.(message);
  if (typeof problem !== "string") return type.encode(message).finish();
  throw new TypeError(
    `Cannot encode the body of ${action}: ${problem}`,
  );
}
