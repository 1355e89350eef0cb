// SPDX-License-Identifier: Apache-2.0
// listen_address.ts - where a server is to listen, checked; used by serve.ts and listen.ts.

import { requireInteger } from "./route_options.ts";

/** An address as it was asked for. */
export interface ServerAddress {
  transport: "tcp" | "unix";
  /** Host name, or path of a Unix socket. */
  host: string;
  port: number;
  backlog: number;
  reusePort: boolean;
  ipv6Only: boolean;
  /** A socket that listens already, of which the rest says nothing. */
  fd: number | null;
}

/** The options that say where. */
export interface AddressOptions {
  transport?: string | undefined;
  hostname?: string | undefined;
  port?: number | undefined;
  path?: string | undefined;
  tcpBacklog?: number | undefined;
  reusePort?: boolean | undefined;
  ipv6Only?: boolean | undefined;
  fd?: number | undefined;
}

const DEFAULT_HOSTNAME = "0.0.0.0";
const DEFAULT_BACKLOG = 511;
const INT_MAX = 0x7fffffff;

/** The address that the options mean. `action` is what they are for, `port` the one to take when none is given. */
export function addressOf(
  action: string,
  options: AddressOptions,
  port: number,
): ServerAddress {
  const unix = options.path !== undefined;
  const { fd, tcpBacklog = DEFAULT_BACKLOG } = options;
  if (fd !== undefined) requireInteger(action, "fd", fd, 0, INT_MAX);
  else checkTransport(action, options.transport, unix);
  requireInteger(action, "port", options.port ?? port, 0, 65535);
  requireInteger(action, "tcpBacklog", tcpBacklog, 1, INT_MAX);
  return {
    transport: unix ? "unix" : "tcp",
    host: unix ? options.path! : options.hostname ?? DEFAULT_HOSTNAME,
    port: unix ? 0 : options.port ?? port,
    backlog: tcpBacklog,
    reusePort: options.reusePort ?? false,
    ipv6Only: options.ipv6Only ?? false,
    fd: fd ?? null,
  };
}

/** Throws a TypeError unless the transport, when it is given, is the one that has a path or has none. */
export function checkTransport(
  action: string,
  given: string | undefined,
  hasPath: boolean,
): void {
  const transport = given ?? (hasPath ? "unix" : "tcp");
  if (transport !== "tcp" && transport !== "unix") {
    throw new TypeError(
      `Cannot ${action}: "transport" must be "tcp" or "unix", is ${
        Deno.inspect(transport)
      }`,
    );
  }
  if ((transport === "unix") === hasPath) return;
  throw new TypeError(
    `Cannot ${action}: "transport" is "${transport}", which ${
      hasPath ? "has no" : "needs a"
    } "path"`,
  );
}
