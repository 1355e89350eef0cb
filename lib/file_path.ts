// SPDX-License-Identifier: Apache-2.0
// file_path.ts - from the path of a URL to that of a file beneath a root; called by files.ts.

/** A path that may be opened, or the status that refuses it. */
export type FilePath = { path: string; isDirectory: boolean } | {
  status: 400 | 404;
};

const REFUSED: FilePath = { status: 404 };

// What a URL's path may not name: another separator, or the end of a C string.
// deno-lint-ignore no-control-regex
const FORBIDDEN = /[\\\x00]/;
const ENCODED_SLASH = /%2f/i;

/**
 * The path that the pathname of a URL names, decoded just once: "" for the root itself. What is still `%` then is a
 * character like any other.
 */
export function filePath(pathname: string, dotfiles: boolean): FilePath {
  if (ENCODED_SLASH.test(pathname)) return REFUSED;
  let decoded: string;
  try {
    decoded = decodeURIComponent(pathname);
  } catch {
    return { status: 400 };
  }
  if (FORBIDDEN.test(decoded)) return REFUSED;
  if (!decoded.startsWith("/")) return REFUSED;
  const segments = decoded.slice(1).split("/");
  const isDirectory = segments.at(-1) === "";
  if (isDirectory) segments.pop();
  const all = segments.every((segment) => isName(segment, dotfiles));
  return all ? { path: segments.join("/"), isDirectory } : REFUSED;
}

function isName(segment: string, dotfiles: boolean): boolean {
  if (segment === "" || segment === "." || segment === "..") return false;
  return dotfiles || !segment.startsWith(".");
}
