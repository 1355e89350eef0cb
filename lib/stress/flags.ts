// SPDX-License-Identifier: Apache-2.0
// flags.ts - the command line as options of stress(); used by command.ts.

import { parseArgs } from "@std/cli/parse-args";
import type { StressKind, StressOptions } from "./options.ts";

/** A mistake on the command line. */
export class UsageError extends Error {}

/** What the command line asks for. */
export interface Command {
  options: StressOptions;
  /** The report as JSON, and no progress. */
  json: boolean;
}

export const USAGE = `Usage: stress ws|http|tcp|rpc URL [options]

  ws    WebSockets that expect a message back for each message
  http  requests of HTTP/1.1
  tcp   tcp://host:port or unix:path that expects as many bytes back
  rpc   calls of an action of Millrace's router, over tcp:, ws: or unix:

How much:
  -c, --connections N  connections that are opened and held (50)
  -d, --hold TIME      how long, once all stand: 30s, 500ms, 2m (10s, with -n no limit);
                       also --duration
  -n, --requests N     end after so many messages
  -r, --rate N         messages a second altogether, by a schedule that does not wait for
                       answers; 0 only holds. Without it each answer brings the next one
      --interval TIME  the same as a rate: between two messages of one connection
  -p, --pipeline N     messages in flight on a connection (1; with a rate 64, HTTP 1)
      --ramp N|TIME    connections a second, or the time for all of them
  -w, --workers N      threads that share the connections (1)
      --timeout TIME   for connecting, and for an answer (10s)

What:
      --payload N|TEXT bytes of a message, or the message (64; http: no body)
      --text, --binary kind of WebSocket messages (binary; text for a TEXT)
      --verify         compare answers, byte for byte
      --expect TEXT    what each answer has to be
      --method NAME    of requests (GET; with a payload POST)
      --header LINE    "name: value"; may be given many times
      --body TEXT      of requests; of calls, as JSON
      --codec NAME     of calls: json, raw or msgpack (json)
      --action N       of calls (1)
      --subprotocol NAME, --compression   of WebSockets

How:
      --source LIST    local addresses to connect from, such as 127.0.0.2,127.0.0.3
      --backend NAME   auto, io_uring or epoll (auto)
      --json           print the report as JSON, and show no progress
  -h, --help           print this

Exits with 0 when all was well, 1 after errors, 2 for a wrong command line.`;

const STRINGS = [
  "connections",
  "hold",
  "duration",
  "requests",
  "rate",
  "interval",
  "pipeline",
  "ramp",
  "workers",
  "timeout",
  "payload",
  "expect",
  "method",
  "header",
  "body",
  "codec",
  "action",
  "subprotocol",
  "source",
  "backend",
] as const;

const BOOLEANS = [
  "text",
  "binary",
  "verify",
  "compression",
  "json",
  "help",
] as const;

const ALIAS = {
  connections: "c",
  hold: "d",
  requests: "n",
  rate: "r",
  pipeline: "p",
  workers: "w",
  help: "h",
};

// One has to be given for each; none may be given twice, but for this one.
const MANY = "header";
// What may be empty.
const MAY_BE_EMPTY = ["payload", "expect", "body"];

type Flags = Partial<Record<typeof STRINGS[number], string>>;

/** Reads the command line. Throws a UsageError; "help" when that is asked for. */
export function readCommand(args: readonly string[]): Command | "help" {
  const parsed = parseArgs(joinValues(args.flatMap(detached)), {
    string: STRINGS,
    boolean: BOOLEANS,
    collect: STRINGS,
    alias: ALIAS,
    unknown: (arg, key): boolean => {
      if (key === undefined) return true; // a plain argument
      throw new UsageError(
        `unknown option ${arg}; known are ${known().join(" ")}`,
      );
    },
  });
  if (parsed.help) return "help";
  const [kind, url, ...rest] = parsed._.map(String);
  if (kind === undefined || url === undefined || rest.length > 0) {
    throw new UsageError(
      rest.length > 0
        ? `"${rest[0]}" is one argument too many`
        : "what to put under load must be given: ws, http, tcp or rpc, and a URL",
    );
  }
  const lists = Object.fromEntries(
    STRINGS.map((name) => [name, (parsed[name] ?? []) as string[]]),
  ) as Record<typeof STRINGS[number], string[]>;
  const flags = singles(lists);
  const { text, binary, json } = parsed;
  if (text && binary) {
    throw new UsageError("--text and --binary exclude each other");
  }
  const options = {
    kind: kind as StressKind,
    url,
    ...amounts(flags),
    ...contents(kind, flags, lists.header),
    ...(text || binary) && { text },
    ...parsed.verify && { verify: true },
    ...parsed.compression && { compression: true },
  };
  return { options, json };
}

/** Milliseconds of a time such as 30s. */
export function milliseconds(name: string, text: string): number {
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (found === null) {
    throw new UsageError(
      `--${name} must be a time such as 500ms, 30s, 2m or 1h, is "${text}"`,
    );
  }
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[found[2]!]!;
  return Math.round(Number(found[1]) * unit);
}

function singles(lists: Record<typeof STRINGS[number], string[]>): Flags {
  const flags: Flags = {};
  for (const name of STRINGS) {
    const values = lists[name];
    if (values.length > 1 && name !== MANY) {
      throw new UsageError(`--${name} is given more than once`);
    }
    if (values.includes("") && !MAY_BE_EMPTY.includes(name)) {
      throw new UsageError(`--${name} needs a value`);
    }
    if (values.length > 0) flags[name] = values[0]!;
  }
  return flags;
}

function amounts(flags: Flags): Partial<StressOptions> {
  const { hold, duration, interval, timeout, ramp, rate } = flags;
  if (hold !== undefined && duration !== undefined) {
    throw new UsageError(
      "--hold and --duration say the same; give one of them",
    );
  }
  const options: Partial<StressOptions> = {};
  for (
    const name of ["connections", "requests", "pipeline", "workers"] as const
  ) {
    const text = flags[name];
    if (text !== undefined) options[name] = number(name, text);
  }
  if (rate !== undefined) options.rate = number("rate", rate);
  const held = hold ?? duration;
  if (held !== undefined) {
    options.hold = milliseconds(hold === undefined ? "duration" : "hold", held);
  }
  if (interval !== undefined) {
    options.interval = milliseconds("interval", interval);
  }
  if (timeout !== undefined) options.timeout = milliseconds("timeout", timeout);
  if (ramp !== undefined) options.ramp = rampOf(ramp, options.connections);
  return options;
}

function rampOf(text: string, connections = 50): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  return connections * 1000 / Math.max(milliseconds("ramp", text), 1);
}

function contents(
  kind: string,
  flags: Flags,
  headers: readonly string[],
): Partial<StressOptions> {
  const options: Partial<StressOptions> = {};
  const { payload, body, source, action, codec, backend } = flags;
  for (const name of ["expect", "method", "subprotocol"] as const) {
    const text = flags[name];
    if (text !== undefined) options[name] = text;
  }
  if (payload !== undefined) {
    options.payload = /^\d+$/.test(payload) ? Number(payload) : payload;
  }
  if (body !== undefined) {
    if (kind === "rpc") options.body = json(body);
    else if (payload === undefined) options.payload = body;
    else throw new UsageError("--payload and --body exclude each other");
  }
  if (headers.length > 0) options.headers = headers.map(field);
  if (action !== undefined) options.action = number("action", action);
  if (source !== undefined) options.sources = source.split(",");
  // What they may be is checked with all other options.
  if (codec !== undefined) {
    options.codec = codec as NonNullable<StressOptions["codec"]>;
  }
  if (backend !== undefined) {
    options.backend = backend as NonNullable<StressOptions["backend"]>;
  }
  return options;
}

function number(name: string, text: string): number {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new UsageError(`--${name} must be a number, is "${text}"`);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--body is no JSON: ${(error as Error).message}`);
  }
}

function field(line: string): [string, string] {
  const at = line.indexOf(":");
  if (at > 0) return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  throw new UsageError(`--header must be like "name: value", is "${line}"`);
}

// "-d30s" is "-d 30s".
function detached(arg: string): string[] {
  return /^-[cdnrpw]\d/.test(arg) ? [arg.slice(0, 2), arg.slice(2)] : [arg];
}

// "-1" behind a flag is its value and not a flag of its own, and so is "".
function joinValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const isValue = /^-\d|^$/.test(arg) && /^-[^=]*$/.test(joined.at(-1) ?? "");
    joined.push(isValue ? `${joined.pop()}=${arg}` : arg);
  }
  return joined;
}

function known(): string[] {
  return [...STRINGS, ...BOOLEANS].map((name) => `--${name}`);
}
