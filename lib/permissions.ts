// SPDX-License-Identifier: Apache-2.0
// permissions.ts - asks Deno's sandbox before C is told to listen or to open a file, since FFI would go past it;
// called by listening_server.ts and files.ts.

/** Throws NotCapable, in the words of Deno, unless listening on this address is allowed. */
export function requireNet(hostname: string, port: number): void {
  const bracketed = hostname.includes(":") ? `[${hostname}]` : hostname;
  const host = `${bracketed}:${port}`;
  ensure({ name: "net", host }, `net access to "${host}"`, "net");
}

/** Throws NotCapable unless the socket file may be made. */
export function requirePath(path: string): void {
  ensure({ name: "read", path }, `read access to "${path}"`, "read");
  ensure({ name: "write", path }, `write access to "${path}"`, "write");
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
  if (state === "granted") return;
  throw new Deno.errors.NotCapable(
    `Requires ${what}, run again with the --allow-${flag} flag`,
  );
}
