// SPDX-License-Identifier: Apache-2.0
// differential_malformed.ts - rows: requests that break the rules of HTTP/1.1.
// What the refusal says is each server's own; compared are the class of its
// status and the fate of the connection.

import { get, req, type Row } from "./differential_rows.ts";

const TE = "Transfer-Encoding: chunked\r\n";

const MALFORMED: [name: string, send: string][] = [
  ["a word", "hello\r\n\r\n"],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
  ["no version", "GET /\r\nHost: test\r\n\r\n"],
  ["no target", "GET HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["an empty target", "GET  HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["two blanks", "GET  / HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["two blanks before the version", "GET /  HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["a tab for a blank", "GET\t/ HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["a blank at the end of the line", "GET / HTTP/1.1 \r\nHost: test\r\n\r\n"],
  ["a blank in front", " GET / HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["a blank in the target", "GET /a b HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["a control in the target", "GET /a\x01 HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["DEL in the target", "GET /a\x7f HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["a method with @", "G@T / HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["an empty method", " / HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: test\r\n\r\n"],
  ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: test\r\n\r\n"],
  ["HTTP/0.9", "GET / HTTP/0.9\r\nHost: test\r\n\r\n"],
  ["HTTP/1", "GET / HTTP/1\r\nHost: test\r\n\r\n"],
  ["http/1.1", "GET / http/1.1\r\nHost: test\r\n\r\n"],
  ["HTTP/1.10", "GET / HTTP/1.10\r\nHost: test\r\n\r\n"],
  ["LF alone", "GET / HTTP/1.1\nHost: test\n\n"],
  ["LF alone after a field", "GET / HTTP/1.1\r\nHost: test\nX: 1\r\n\r\n"],
  ["CR alone in a field", get("/", "X-A: a\rb\r\n")],
  ["NUL in a field", get("/", "X-A: a\0b\r\n")],
  ["a control in a field", get("/", "X-A: a\x01b\r\n")],
  ["DEL in a field", get("/", "X-A: a\x7fb\r\n")],
  ["a blank before the colon", get("/", "X-A : 1\r\n")],
  ["a blank in a name", get("/", "X A: 1\r\n")],
  ["a name of nothing", get("/", ": 1\r\n")],
  ["a line without a colon", get("/", "X-A\r\n")],
  ["a name with a Latin-1 letter", get("/", "X-\xe4: 1\r\n")],
  ["a folded field", get("/", "X-A: 1\r\n 2\r\n")],
  ["a folded first field", "GET / HTTP/1.1\r\n X: 1\r\nHost: test\r\n\r\n"],
  ["no Host", "GET / HTTP/1.1\r\n\r\n"],
  ["two Hosts", get("/", "Host: other\r\n")],
  ["two equal Hosts", get("/", "Host: test\r\n")],
  ["a Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"],
  ["a Host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"],
  ["a Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"],
  ["a Host with a bad port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"],
  ["a list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"],
  ["a Host with a Latin-1 letter", "GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n"],
  ["length -1", req("POST", "/", "Content-Length: -1\r\n")],
  ["length +1", req("POST", "/", "Content-Length: +1\r\n", "a")],
  ["length 0x1", req("POST", "/", "Content-Length: 0x1\r\n", "a")],
  ["length 1 1", req("POST", "/", "Content-Length: 1 1\r\n", "a")],
  ["length of nothing", req("POST", "/", "Content-Length:\r\n")],
  ["length 2^64", req("POST", "/", "Content-Length: 18446744073709551616\r\n")],
  [
    "two lengths",
    req("POST", "/", "Content-Length: 1\r\nContent-Length: 2\r\n", "ab"),
  ],
  [
    "two equal lengths",
    req("POST", "/", "Content-Length: 1\r\nContent-Length: 1\r\n", "a"),
  ],
  [
    "a list of equal lengths",
    req("POST", "/", "Content-Length: 1, 1\r\n", "a"),
  ],
  [
    "length and chunked",
    req("POST", "/", `Content-Length: 5\r\n${TE}`, "0\r\n\r\n"),
  ],
  [
    "chunked and length",
    req("POST", "/", `${TE}Content-Length: 5\r\n`, "0\r\n\r\n"),
  ],
  ["coding gzip", req("POST", "/", "Transfer-Encoding: gzip\r\n")],
  [
    "coding gzip, chunked",
    req("POST", "/", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
  ],
  [
    "coding chunked, gzip",
    req("POST", "/", "Transfer-Encoding: chunked, gzip\r\n"),
  ],
  ["coding identity", req("POST", "/", "Transfer-Encoding: identity\r\n")],
  ["coding xchunked", req("POST", "/", "Transfer-Encoding: xchunked\r\n")],
  ["coding chunked twice", req("POST", "/", TE + TE, "0\r\n\r\n")],
  ["coding of nothing", req("POST", "/", "Transfer-Encoding:\r\n")],
  [
    "coding chunked in HTTP/1.0",
    `POST / HTTP/1.0\r\nHost: test\r\n${TE}\r\n0\r\n\r\n`,
  ],
  ["a body after GET without a length", get() + "body\r\n\r\n"],
];

const CHUNKS: [name: string, body: string][] = [
  ["no size", "\r\na\r\n0\r\n\r\n"],
  ["size xyz", "xyz\r\na\r\n0\r\n\r\n"],
  ["size 0x1", "0x1\r\na\r\n0\r\n\r\n"],
  ["size -1", "-1\r\na\r\n0\r\n\r\n"],
  ["size of 17 digits", "10000000000000000\r\na\r\n0\r\n\r\n"],
  ["a blank before the size", " 1\r\na\r\n0\r\n\r\n"],
  ["a blank after the size", "1 \r\na\r\n0\r\n\r\n"],
  ["data longer than its size", "1\r\nab\r\n0\r\n\r\n"],
  ["LF alone after the size", "1\na\r\n0\r\n\r\n"],
  ["LF alone after the data", "1\r\na\n0\r\n\r\n"],
  ["LF alone in an extension", "1;a\nb\r\na\r\n0\r\n\r\n"],
  ["a malformed trailer", "1\r\na\r\n0\r\nX Y: 1\r\n\r\n"],
  ["a trailer without a colon", "1\r\na\r\n0\r\nXY\r\n\r\n"],
];

const echo = async (request: Request): Promise<Response> =>
  new Response(await request.text());

export const MALFORMED_ROWS: Row[] = [
  ...MALFORMED.map(([name, send]) => ({
    name: `malformed: ${name}`,
    handler: echo,
    send,
    refused: true,
  })),
  ...CHUNKS.map(([name, body]) => ({
    name: `malformed chunks: ${name}`,
    handler: echo,
    send: req("POST", "/", TE, body),
    refused: true,
  })),
];
