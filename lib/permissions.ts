// SPDX-License-Identifier: Apache-2.0
// permissions.ts - asks Deno's sandbox before C is told to listen, to connect or to open a file, since FFI would go past
// it; called by listening_server.ts, dial.ts and files.ts.

import { resolve } from "node:path";

/** Throws NotCapable, in the words of Deno, unless listening on this address, or connecting to it, is allowed. */
export function requireNet(hostname: string, port: number): void {
  const host = hostOf(hostname, port);
  ensure({ name: "net", host }, `net access to "${host}"`, "net");
}

/** Throws NotCapable when an address is forbidden that a name, which is allowed, has led to. */
export function requireNotDenied(address: string, port: number): void {
  const host = hostOf(address, port);
  const { state } = Deno.permissions.querySync({ name: "net", host });
  if (state === "denied") throw notCapable(`net access to "${host}"`, "net");
}

function hostOf(hostname: string, port: number): string {
  const bracketed = hostname.includes(":") ? `[${hostname}]` : hostname;
  return `${bracketed}:${port}`;
}

/** Throws NotCapable unless a socket file may be listened on, or connected to. */
export function requirePath(path: string): void {
  ensure({ name: "read", path }, `read access to "${path}"`, "read");
  ensure({ name: "write", path }, `write access to "${path}"`, "write");
  const { state, partial } = Deno.permissions.querySync({ name: "net" });
  if (state === "granted" && !partial) return;
  // Permissions name absolute paths. An abstract name is none: it takes that of the whole net.
  ensure(
    path.startsWith("@")
      ? { name: "net" }
      : { name: "net", host: `unix:${resolve(path)}` },
    `net access to "unix:${path}"`,
    "net",
  );
}

/** Throws NotCapable unless listening on this address is allowed. */
export function requireAddress(addr: Deno.Addr): void {
  if (addr.transport === "unix") requirePath((addr as Deno.UnixAddr).path);
  else requireNet((addr as Deno.NetAddr).hostname, (addr as Deno.NetAddr).port);
}

/** Throws NotCapable unless this file may be read. */
export function requireRead(path: string): void {
  ensure({ name: "read", path }, `read access to "${path}"`, "read");
}

/** Throws NotCapable unless a file beneath a directory may be read. */
export function requireReadBeneath(root: string, path: string): void {
  const { state, partial } = Deno.permissions.querySync({
    name: "read",
    path: root,
  });
  // A directory that is allowed with exceptions, or not as a whole, leaves it to the file.
  if (state !== "granted" || partial) requireRead(`${root}/${path}`);
}

function ensure(
  descriptor: Deno.PermissionDescriptor,
  what: string,
  flag: string,
): void {
  let { state } = Deno.permissions.querySync(descriptor);
  if (state === "prompt") {
    ({ state } = Deno.permissions.requestSync(descriptor));
  }
  if (state !== "granted") throw notCapable(what, flag);
}

function notCapable(what: string, flag: string): Error {
  return new Deno.errors.NotCapable(
    `Requires ${what}, run again with the --allow-${flag} flag`,
  );
}
