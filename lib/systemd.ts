// SPDX-License-Identifier: Apache-2.0
// systemd.ts - the sockets that a supervisor has opened for this process; used by applications.

/** A socket that was passed on. */
export interface InheritedSocket {
  /** Its descriptor, for the option `fd` of `listen()`. */
  fd: number;
  /** Its name, `FileDescriptorName=` of the socket unit; "" when the supervisor has told none. */
  name: string;
}

const FIRST = 3;

/**
 * The sockets that systemd, or whoever does as it does, has opened for this process: `LISTEN_FDS`, `LISTEN_PID` and
 * `LISTEN_FDNAMES` of sd_listen_fds(3). Needs the permission to read those three variables.
 *
 * @example A server whose port systemd has opened
 * ```ts
 * import { listen, type Socket, systemdSockets } from "@millrace/millrace";
 *
 * const hello = { open: (socket: Socket<undefined>) => void socket.write("hello\n") };
 * const [inherited] = systemdSockets();
 * if (inherited) listen({ fd: inherited.fd }, hello);
 * else listen({ port: 7000 }, hello);
 * ```
 *
 * @returns The sockets in the order of the units' files; none when they are not meant for this process.
 */
export function systemdSockets(): InheritedSocket[] {
  const count = Number(Deno.env.get("LISTEN_FDS") ?? 0);
  // A process in between has started this one, without saying that they are for it.
  if (Deno.env.get("LISTEN_PID") !== `${Deno.pid}`) return [];
  if (!Number.isInteger(count) || count < 1) return [];
  const names = (Deno.env.get("LISTEN_FDNAMES") ?? "").split(":");
  return Array.from({ length: count }, (_, at) => ({
    fd: FIRST + at,
    name: names[at] ?? "",
  }));
}
