// SPDX-License-Identifier: Apache-2.0
// errno.ts - what the shim's negative answers mean; used by every control-plane call of ffi/.

import { constants } from "node:os";

interface Meaning {
  text: string;
  error?: new (message: string) => Error;
}

const { errors } = Deno;

const MEANINGS: Record<string, Meaning> = {
  EACCES: { text: "permission denied", error: errors.PermissionDenied },
  EAFNOSUPPORT: { text: "only IPv4, IPv6 and Unix sockets are supported" },
  EBADF: {
    text: "there is no such descriptor",
    error: errors.BadResource,
  },
  EADDRINUSE: { text: "the address is in use", error: errors.AddrInUse },
  EADDRNOTAVAIL: {
    text: "the address is not on this machine, or has no port left",
    error: errors.AddrNotAvailable,
  },
  EAGAIN: { text: "there is no room for it now" },
  EBUSY: { text: "the resource is busy", error: errors.Busy },
  ECONNREFUSED: {
    text: "nobody accepts connections there",
    error: errors.ConnectionRefused,
  },
  ECONNRESET: {
    text: "the peer reset the connection",
    error: errors.ConnectionReset,
  },
  EDQUOT: { text: "as many connections are open as may be" },
  EHOSTUNREACH: {
    text: "there is no way to that host",
    error: errors.NetworkUnreachable,
  },
  EINVAL: { text: "a value is out of range", error: RangeError },
  EMFILE: { text: "the process has no file descriptor left (ulimit -n)" },
  ENAMETOOLONG: { text: "the path is empty or too long" },
  ENETUNREACH: {
    text: "there is no way to that network",
    error: errors.NetworkUnreachable,
  },
  ENOBUFS: { text: "the send queue is full" },
  ENOENT: { text: "no such file, or no such host", error: errors.NotFound },
  ENOMEM: { text: "out of memory" },
  EMSGSIZE: { text: "it is too long" },
  ENOTCONN: {
    text: "the socket is not connected",
    error: errors.NotConnected,
  },
  ENOTSOCK: { text: "it is no socket" },
  ENOTSUP: { // EOPNOTSUPP by its shorter name
    text: "it is no socket that can do this",
    error: errors.NotSupported,
  },
  EPERM: { text: "operation not permitted", error: errors.PermissionDenied },
  EPIPE: { text: "the peer closed the connection", error: errors.BrokenPipe },
  ESOCKTNOSUPPORT: { text: "it is no stream socket" },
  ESTALE: { text: "the connection is closed", error: errors.NotConnected },
  ETIMEDOUT: { text: "timed out", error: errors.TimedOut },
};

// Of two names for one number the first: EAGAIN, not EWOULDBLOCK.
const NAMES = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name])
    .reverse() as [number, string][],
);

/** The name of an errno, for example "ECONNRESET"; "" for 0. */
export function errnoName(errno: number): string {
  if (errno === 0) return "";
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** An error of the class that Deno would throw, "Cannot <action>: <meaning> (<NAME>)". */
export function errnoError(errno: number, action: string, detail = ""): Error {
  const name = errnoName(errno);
  const meaning = MEANINGS[name];
  const why = detail || meaning?.text || "the system refused";
  return new (meaning?.error ?? Error)(`Cannot ${action}: ${why} (${name})`);
}

/** The same for an errno by its name. */
export function errnoByName(name: string, action: string): Error {
  const errno = constants.errno[name as keyof typeof constants.errno];
  return errnoError(errno, action);
}

/** Returns a call's answer, or throws what its negative one means. */
export function unwrap(answer: number, action: string): number {
  if (answer < 0) throw errnoError(-answer, action);
  return answer;
}
