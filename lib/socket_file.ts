// SPDX-License-Identifier: Apache-2.0
// socket_file.ts - the file of a Unix socket, which the kernel leaves behind; used by listening_server.ts and
// workers_server.ts.

/** A file that nobody could listen on again. */
export class SocketFile {
  readonly #path: string;
  readonly #inode: number;

  constructor(path: string, inode: number) {
    this.#path = path;
    this.#inode = inode;
  }

  /** Removes it. One that somebody else has put there meanwhile stays. */
  remove(): void {
    if (inodeOf(this.#path) === this.#inode) Deno.removeSync(this.#path);
  }
}

/** That of a socket which listens; null when it has none, as one of TCP or an abstract one. */
export function socketFileOf(addr: Deno.Addr): SocketFile | null {
  if (addr.transport !== "unix") return null;
  const { path } = addr as Deno.UnixAddr;
  const inode = inodeOf(path);
  return inode === null ? null : new SocketFile(path, inode);
}

function inodeOf(path: string): number | null {
  if (path.startsWith("@")) return null;
  try {
    return Deno.statSync(path).ino;
  } catch {
    return null;
  }
}
