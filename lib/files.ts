// SPDX-License-Identifier: Apache-2.0
// files.ts - serveFile() and serveDir(): from a request to the response that carries a file; needs nothing of the
// server but that it reads and cancels the body.
/**
 * Files over HTTP: `serveFile()` and `serveDir()`. A Millrace server sends their bytes from file to socket without
 * JavaScript seeing them; any other server, and middleware, reads them as a stream.
 *
 * @example
 * ```ts
 * import { serve } from "@millrace/millrace";
 * import { serveDir } from "@millrace/millrace/files";
 *
 * serve({ port: 9001 }, (request) => serveDir(request, "public"));
 * ```
 *
 * @module
 */

import { contentType } from "@std/media-types/content-type";
import {
  closeFile,
  errnoByName,
  type OpenedFile,
  openFile,
} from "../ffi/mod.ts";
import { type FilePart, fileStream } from "./file_body.ts";
import {
  acceptedCodings,
  CODING_SUFFIX,
  type FileCoding,
} from "./file_coding.ts";
import {
  checkConditions,
  rangeApplies,
  type Validators,
} from "./file_conditions.ts";
import { filePath } from "./file_path.ts";
import { type ByteRange, parseRange } from "./file_range.ts";
import { requireRead, requireReadBeneath } from "./permissions.ts";
import { requireKnown } from "./route_options.ts";

export type { FileCoding };

/** How to serve a file. */
export interface ServeFileOptions {
  /** Fields for responses that carry the file, 304 among them: `Cache-Control` for example. */
  headers?: HeadersInit;
  /**
   * Compressed neighbours to send instead, `style.css.br` for `style.css`, where the client accepts them. `true`
   * means both. Each one that may be there costs an attempt to open it.
   *
   * @default {false}
   */
  precompressed?: boolean | readonly FileCoding[];
  /**
   * Ranges of one request that are answered; with more the whole file is sent.
   *
   * @default {16}
   */
  maxRanges?: number;
}

/** How to serve a directory. */
export interface ServeDirOptions extends ServeFileOptions {
  /**
   * The part of a URL's path that stands for the directory, for example `"static"`; any other path is not found.
   *
   * @default {""}
   */
  urlRoot?: string;
  /**
   * The file that answers for a directory; `""` for none.
   *
   * @default {"index.html"}
   */
  index?: string;
  /**
   * Whether to serve files, and what is in directories, whose names begin with a dot.
   *
   * @default {false}
   */
  showDotfiles?: boolean;
  /**
   * Whether to follow symbolic links, as long as they are relative and stay beneath the directory.
   *
   * @default {true}
   */
  followSymlinks?: boolean;
}

const FILE_OPTIONS = ["headers", "precompressed", "maxRanges"];
const DIR_OPTIONS = [
  ...FILE_OPTIONS,
  "urlRoot",
  "index",
  "showDotfiles",
  "followSymlinks",
];
const DIR_TYPES = {
  urlRoot: "string",
  index: "string",
  showDotfiles: "boolean",
  followSymlinks: "boolean",
} as const;

const CODINGS: readonly FileCoding[] = ["br", "gzip"];
const MAX_RANGES = 16;

// What there is no telling apart from a file that is not there.
const NOT_FOUND = new Set([
  "EACCES",
  "EINVAL",
  "ELOOP",
  "ENAMETOOLONG",
  "ENOENT",
  "ENOTDIR",
  "ENXIO",
  "EXDEV",
]);

// A file that has changed this short a time ago may change again without its time of change showing it.
const SETTLED_MS = 1000;

/** Opens a path, as `openFile()` does for one root. */
type Opener = (path: string) => OpenedFile | null;

/**
 * Answers a request with a file: `GET` and `HEAD`, whole, one range or several, and 304 or 412 where the request's
 * conditions say so. What is no regular file is answered with 404.
 *
 * @param request The request.
 * @param path The file, as the application names it: nothing in it is decoded or refused.
 * @param options What to add, and what to try.
 * @returns The response. Its body is to be sent, read or cancelled; the file is open until then.
 * @throws {Deno.errors.NotCapable} Without permission to read the file.
 * @throws {TypeError} When the path is empty or no path, or an option is unknown or of another type.
 */
export function serveFile(
  request: Request,
  path: string | URL,
  options: ServeFileOptions = {},
): Response {
  checkOptions(options, FILE_OPTIONS);
  const name = pathOf(path);
  if (!isRead(request)) return refused(405);
  const open: Opener = (name) => {
    requireRead(name);
    return opened(openFile("", name, true), name);
  };
  const file = open(name);
  if (file === null || file.isDirectory) return refused(404);
  return respond(request, file, name, open, options);
}

/**
 * Answers a request with the file beneath a directory that its URL names. The path is percent-decoded once, and what
 * is not beneath the directory is never opened. A directory is answered with its `index`, or redirected to its name
 * with a slash. A root that does not exist has no files.
 *
 * @param request The request.
 * @param root The directory.
 * @param options Which files to serve, and how.
 * @returns The response; see `serveFile()`.
 * @throws {Deno.errors.NotCapable} Without permission to read the file.
 * @throws {TypeError} When the root is empty or no path, or an option is unknown or of another type.
 */
export function serveDir(
  request: Request,
  root: string | URL,
  options: ServeDirOptions = {},
): Response {
  checkOptions(options, DIR_OPTIONS);
  const directory = pathOf(root);
  if (!isRead(request)) return refused(405);
  const { showDotfiles = false, followSymlinks = true } = options;
  const { index = "index.html" } = options;
  const pathname = pathnameOf(request.url);
  const rest = beneath(pathname, options.urlRoot ?? "");
  if (rest === null) return refused(404);
  if (rest === "") return slashed(request.url, pathname);
  const found = filePath(rest, showDotfiles);
  if ("status" in found) return refused(found.status);
  const open: Opener = (path) => {
    requireReadBeneath(directory, path);
    return opened(openFile(directory, path, followSymlinks), path);
  };
  const { path, isDirectory } = found;
  const name = isDirectory ? joined(path, index) : path;
  const file = isDirectory && index === "" ? null : open(name);
  if (file === null) return refused(404);
  if (!file.isDirectory) return respond(request, file, name, open, options);
  return isDirectory ? refused(404) : slashed(request.url, pathname);
}

function isRead(request: Request): boolean {
  return request.method === "GET" || request.method === "HEAD";
}

function pathOf(path: string | URL): string {
  if (path instanceof URL && path.protocol !== "file:") {
    throw new TypeError(`Cannot serve ${path}: it is no file URL`);
  }
  const text = path instanceof URL ? decodeURIComponent(path.pathname) : path;
  if (typeof text !== "string") {
    throw wrong("the path", "a string or a file URL", text);
  }
  if (text === "") {
    throw new TypeError("Cannot serve a file: the path is empty");
  }
  return text;
}

// With the first request, and not only with one for which the option counts.
function checkOptions(
  options: ServeDirOptions,
  known: readonly string[],
): void {
  requireKnown("serve a file", options, known);
  for (const [name, type] of Object.entries(DIR_TYPES)) {
    const value: unknown = options[name as keyof typeof DIR_TYPES];
    if (value === undefined || typeof value === type) continue;
    throw wrong(`"${name}"`, `a ${type}`, value);
  }
  const { precompressed = false, maxRanges = MAX_RANGES } = options;
  const isList = Array.isArray(precompressed) &&
    precompressed.every((coding) => CODINGS.includes(coding));
  if (typeof precompressed !== "boolean" && !isList) {
    throw wrong(
      '"precompressed"',
      'a boolean or a list of "br" and "gzip"',
      precompressed,
    );
  }
  if (!Number.isInteger(maxRanges) || maxRanges < 0) {
    throw wrong('"maxRanges"', "an integer of at least 0", maxRanges);
  }
}

function wrong(what: string, expected: string, value: unknown): TypeError {
  return new TypeError(
    `Cannot serve a file: ${what} must be ${expected}, is ${
      Deno.inspect(value)
    }`,
  );
}

function joined(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

// As it was sent: a URL object would have changed it already.
function pathnameOf(url: string): string {
  return /^[a-z]+:\/\/[^/?#]*([^?#]*)/i.exec(url)?.[1] || "/";
}

// What follows the root in a path; "" when the slash between them is missing, null for another root.
function beneath(pathname: string, urlRoot: string): string | null {
  const name = urlRoot.replace(/^\/+|\/+$/g, "");
  if (name === "") return pathname;
  const prefix = `/${name}`;
  if (pathname === prefix) return "";
  return pathname.startsWith(`${prefix}/`)
    ? pathname.slice(prefix.length)
    : null;
}

// Relative, so that no host can be smuggled in, and with a dot in front, so that no scheme can.
function slashed(url: string, pathname: string): Response {
  const name = pathname.slice(pathname.lastIndexOf("/") + 1);
  const query = /\?[^#]*/.exec(url)?.[0] ?? "";
  return new Response(null, {
    status: 301,
    headers: { location: `./${name}/${query}` },
  });
}

function opened(
  answer: OpenedFile | string,
  path: string,
): OpenedFile | null {
  if (typeof answer !== "string") return answer;
  if (NOT_FOUND.has(answer)) return null;
  throw errnoByName(answer, `open "${path}"`);
}

const REASONS = {
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
};

function refused(status: 400 | 404 | 405): Response {
  const headers: HeadersInit = status === 405 ? { allow: "GET, HEAD" } : {};
  return new Response(REASONS[status], { status, headers });
}

// Takes over the file.
function respond(
  request: Request,
  original: OpenedFile,
  name: string,
  open: Opener,
  options: ServeFileOptions,
): Response {
  const { precompressed = false, maxRanges = MAX_RANGES } = options;
  const offered = precompressed === true ? CODINGS : precompressed || [];
  let headers: Headers;
  let compressed: OpenedFile | null;
  try {
    headers = new Headers(options.headers);
    if (!headers.has("content-type")) {
      headers.set("content-type", typeOf(name));
    }
    if (offered.length > 0) headers.append("vary", "Accept-Encoding");
    compressed = neighbour(request, name, open, offered, headers);
  } catch (error) {
    closeFile(original.fd);
    throw error;
  }
  if (compressed !== null) closeFile(original.fd);
  return answer(request, compressed ?? original, headers, maxRanges);
}

function neighbour(
  request: Request,
  name: string,
  open: Opener,
  offered: readonly FileCoding[],
  headers: Headers,
): OpenedFile | null {
  if (offered.length === 0) return null;
  const field = request.headers.get("accept-encoding");
  for (const coding of acceptedCodings(field, offered)) {
    const file = tried(open, name + CODING_SUFFIX[coding]);
    if (file === null || file.isDirectory) continue;
    headers.set("content-encoding", coding);
    return file;
  }
  return null;
}

// Permission for a file need not be one for its neighbours, which then are as good as missing.
function tried(open: Opener, name: string): OpenedFile | null {
  try {
    return open(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return null;
    throw error;
  }
}

const types = new Map<string, string>();

// Without a type that is known the client must not guess one: what people have uploaded may look like a page.
function typeOf(name: string): string {
  const extension = /\.[a-z\d]{1,16}$/i.exec(name)?.[0].toLowerCase() ?? "";
  const known = types.get(extension);
  if (known !== undefined) return known;
  const type: string = contentType(extension) ?? "application/octet-stream";
  types.set(extension, type);
  return type;
}

function answer(
  request: Request,
  file: OpenedFile,
  headers: Headers,
  maxRanges: number,
): Response {
  const validators = validatorsOf(file);
  headers.set("etag", validators.etag);
  // Never later than the response (RFC 9110 section 8.8.2.1).
  const changed = new Date(Math.min(file.mtime, Date.now()));
  headers.set("last-modified", changed.toUTCString());
  headers.set("accept-ranges", "bytes");
  const status = checkConditions(request.headers, validators);
  if (status !== 200) {
    closeFile(file.fd);
    headers.delete("content-type");
    headers.delete("content-encoding");
    return new Response(null, { status, headers });
  }
  const ranges = rangesOf(request, file, validators, maxRanges);
  if (ranges === null) return send(request, 200, file, headers, [whole(file)]);
  if (ranges.length === 0) return unsatisfiable(file);
  if (ranges.length === 1) {
    headers.set("content-range", contentRange(ranges[0]!, file.size));
    return send(request, 206, file, headers, ranges);
  }
  const parts = multipart(ranges, file.size, headers);
  return send(request, 206, file, headers, parts);
}

function validatorsOf({ identity, mtime }: OpenedFile): Validators {
  const settled = Date.now() - mtime > SETTLED_MS;
  return { etag: `${settled ? "" : "W/"}"${identity}"`, mtime };
}

function whole({ size }: OpenedFile): ByteRange {
  return { start: 0, length: size };
}

// Null for the whole file. An empty one has no parts.
function rangesOf(
  request: Request,
  { size }: OpenedFile,
  validators: Validators,
  maxRanges: number,
): ByteRange[] | null {
  const field = request.headers.get("range");
  if (field === null || request.method !== "GET" || size === 0) return null;
  if (!rangeApplies(request.headers, validators)) return null;
  return parseRange(field, size, maxRanges);
}

function contentRange({ start, length }: ByteRange, size: number): string {
  return `bytes ${start}-${start + length - 1}/${size}`;
}

function unsatisfiable({ fd, size }: OpenedFile): Response {
  closeFile(fd);
  return new Response("Range Not Satisfiable", {
    status: 416,
    headers: { "content-range": `bytes */${size}` },
  });
}

const UTF8 = new TextEncoder();

// RFC 9110 section 14.6.
function multipart(
  ranges: readonly ByteRange[],
  size: number,
  headers: Headers,
): FilePart[] {
  const boundary = crypto.randomUUID();
  const type = headers.get("content-type")!;
  headers.set("content-type", `multipart/byteranges; boundary=${boundary}`);
  const parts = ranges.flatMap((range, at) => [
    UTF8.encode(
      `${at === 0 ? "" : "\r\n"}--${boundary}\r\ncontent-type: ${type}\r\n` +
        `content-range: ${contentRange(range, size)}\r\n\r\n`,
    ),
    range,
  ]);
  return [...parts, UTF8.encode(`\r\n--${boundary}--\r\n`)];
}

function send(
  request: Request,
  status: 200 | 206,
  { fd }: OpenedFile,
  headers: Headers,
  parts: readonly FilePart[],
): Response {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  headers.set("content-length", `${length}`);
  if (request.method === "HEAD" || length === 0) {
    closeFile(fd);
    return new Response(null, { status, headers });
  }
  return new Response(fileStream({ fd, parts, length }), { status, headers });
}
