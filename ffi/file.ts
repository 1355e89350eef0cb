// SPDX-License-Identifier: Apache-2.0
// file.ts - opens and reads files through the shim, which keeps paths beneath a root; used by lib/files.ts,
// lib/file_body.ts and lib/file_sender.ts.

import { errnoName, unwrap } from "./errno.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";

/** A regular file that is open, or a directory that is not. */
export interface OpenedFile {
  /** Of a regular file; whoever has it closes it. */
  fd: number;
  isDirectory: boolean;
  size: number;
  /** Last change, in milliseconds since 1970. */
  mtime: number;
  /** Differs between two files, and between two states of one unless that was changed twice in a clock tick. */
  identity: string;
}

/** Why a file cannot be had: the name of an errno. */
export type FileRefusal = string;

const UTF8 = new TextEncoder();
const FILE = new DataView(new ArrayBuffer(layout.FILE_BYTES));
const FILE_BYTES = new Uint8Array(FILE.buffer);

/**
 * Opens `path` beneath the directory `root`, or with an empty root as it is. Returns the name of an errno where
 * there is no regular file or directory, or where it may not be had.
 */
export function openFile(
  root: string,
  path: string,
  followSymlinks: boolean,
): OpenedFile | FileRefusal {
  if (root.includes("\0") || path.includes("\0")) return "EINVAL";
  const paths = UTF8.encode(`${root}\0${path}\0`);
  const flags = followSymlinks ? 0 : layout.FILE_NO_SYMLINKS;
  const answer = library().mr_file_open(
    paths,
    paths.length,
    flags,
    FILE_BYTES,
  );
  if (answer < 0) return errnoName(-answer);
  const number = (offset: number): bigint => FILE.getBigUint64(offset, true);
  const size = number(layout.FILE_SIZE);
  const mtime = number(layout.FILE_MTIME);
  return {
    fd: FILE.getUint32(layout.FILE_FD, true),
    isDirectory: FILE.getUint32(layout.FILE_KIND, true) ===
      layout.FILE_DIRECTORY,
    size: Number(size),
    mtime: Number(mtime / 1_000_000n),
    identity: `${size.toString(36)}-${mtime.toString(36)}-${
      number(layout.FILE_INODE).toString(36)
    }`,
  };
}

/** Reads at an offset; returns how many bytes, 0 at the end. Throws when it cannot be read. */
export function readFile(
  fd: number,
  into: Uint8Array<ArrayBuffer>,
  offset: number,
): number {
  const answer = library().mr_file_read(
    fd,
    into,
    into.length,
    offset % 2 ** 32,
    Math.floor(offset / 2 ** 32),
  );
  return unwrap(answer, "read a file");
}

/** A second descriptor of an open file. */
export function dupFile(fd: number): number {
  return unwrap(library().mr_file_again(fd), "duplicate a file descriptor");
}

/** Closes a file. */
export function closeFile(fd: number): void {
  library().mr_file_close(fd);
}
