// SPDX-License-Identifier: Apache-2.0
// file_conditions.ts - what a request knows of a response already (RFC 9110 section 13); called by files.ts
// and known_response.ts.

/** What tells one state of a response from another; null where it has none of the kind. */
export interface Conditional {
  etag: string | null;
  /** Milliseconds since 1970. */
  mtime: number | null;
}

/** What tells one state of a file from another. */
export interface Validators extends Conditional {
  etag: string;
  mtime: number;
}

// An entity tag (RFC 9110 section 8.8.3), which may contain commas.
const TAG = /(?:W\/)?"[^"]*"/g;

/** The status that answers the conditions of a GET or HEAD: 200 when they hold or there are none. */
export function checkConditions(
  headers: Headers,
  { etag, mtime }: Conditional,
): 200 | 304 | 412 {
  const ifMatch = headers.get("if-match");
  if (ifMatch !== null) {
    if (!lists(ifMatch, etag, false)) return 412;
  } else if (isChanged(headers.get("if-unmodified-since"), mtime) === true) {
    return 412;
  }
  const ifNoneMatch = headers.get("if-none-match");
  if (ifNoneMatch !== null) return lists(ifNoneMatch, etag, true) ? 304 : 200;
  const unchanged =
    isChanged(headers.get("if-modified-since"), mtime) === false;
  return unchanged ? 304 : 200;
}

/** Whether If-Range allows a part to be sent (RFC 9110 section 13.1.5). */
export function rangeApplies(
  headers: Headers,
  { etag, mtime }: Validators,
): boolean {
  const field = headers.get("if-range")?.trim();
  if (field === undefined) return true;
  if (field.startsWith('"')) return field === etag;
  // A date has to be just the one that was sent, and to be old enough that the file cannot have changed again in
  // that second.
  const date = parseDate(field);
  return date !== null && date === wholeSeconds(mtime) && !isWeak(etag);
}

function isWeak(etag: string): boolean {
  return etag.startsWith("W/");
}

function lists(field: string, etag: string | null, weakly: boolean): boolean {
  if (field.trim() === "*") return true;
  if (etag === null || !weakly && isWeak(etag)) return false;
  const wanted = weakly ? opaque(etag) : etag;
  return field.match(TAG)?.some((tag) =>
    (weakly ? opaque(tag) : tag) === wanted
  ) ?? false;
}

function opaque(tag: string): string {
  return isWeak(tag) ? tag.slice(2) : tag;
}

// Null when there is no such field, it is no date, or there is none to compare it with: then it does not count.
function isChanged(field: string | null, mtime: number | null): boolean | null {
  const date = field === null ? null : parseDate(field);
  return date === null || mtime === null ? null : wholeSeconds(mtime) > date;
}

// Dates have no more than seconds.
function wholeSeconds(ms: number): number {
  return ms - ms % 1000;
}

const DAY = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /;

// The three forms of section 5.6.7 all begin with a day; what else Date.parse() takes is none.
function parseDate(text: string): number | null {
  if (!DAY.test(text)) return null;
  const utc = text.endsWith("GMT") ? text : `${text} GMT`;
  const ms = Date.parse(utc);
  return Number.isNaN(ms) ? null : ms;
}
