// SPDX-License-Identifier: Apache-2.0
// differential_bugs.ts - where Millrace differs from Deno.serve and should not,
// worst first: what is wrong, and how it shows today.

import type { Known } from "./differential_rows.ts";

export const BUGS: readonly Known[] = [
  {
    why: "A request cannot be read through a Proxy",
    differences: [
      {
        deno: ["content-length: 9", 'body: "[1,\\"GET\\"]"'],
        millrace: [
          "content-length: 96",
          'body: "[1,\\"TypeError: Cannot read private member #start from an object whose class did not declare it\\"]"',
        ],
        rows: ["request: as a key of a WeakMap and through a Proxy"],
      },
    ],
  },
  {
    why:
      "Attributes of a request are not the enumerable accessors of Request: for-in misses url, method, headers, …, and assigning to the others fails in other words",
    differences: [
      {
        deno: [
          "content-length: 220",
          'body: "[\\"arrayBuffer\\",\\"blob\\",\\"body\\",\\"bodyUsed\\",\\"bytes\\",\\"cache\\",\\"clone\\",\\"credentials\\",\\"formData\\",\\"headers\\",\\"integrity\\",\\"json\\",\\"keepalive\\",\\"method\\",\\"mode\\",\\"redirect\\",\\"referrer\\",\\"referrerPolicy\\",\\"signal\\",\\"text\\",\\"textStream\\",\\"url\\"]"',
        ],
        millrace: [
          "content-length: 114",
          'body: "[\\"cache\\",\\"clone\\",\\"credentials\\",\\"integrity\\",\\"keepalive\\",\\"mode\\",\\"redirect\\",\\"referrer\\",\\"referrerPolicy\\",\\"textStream\\"]"',
        ],
        rows: ["request: what for-in sees"],
      },
      {
        deno: [
          "content-length: 472",
          'body: "[[\\"TypeError: Cannot set property method of #<Request> which has only a getter\\",\\"TypeError: Cannot set property url of #<Request> which has only a getter\\",\\"TypeError: Cannot set property headers of #<Request> which has only a getter\\",\\"TypeError: Cannot set property body of #<Request> which has only a getter\\",\\"TypeError: Cannot set property signal of #<Request> which has only a getter\\",\\"TypeError: Cannot set property cache of #<Request> which has only a getter\\"],\\"GET\\"]"',
        ],
        millrace: [
          "content-length: 475",
          'body: "[[\\"TypeError: Cannot set property method of #<Request> which has only a getter\\",\\"TypeError: Cannot set property url of #<Request> which has only a getter\\",\\"TypeError: Cannot set property headers of #<Request> which has only a getter\\",\\"TypeError: Cannot set property body of #<Request> which has only a getter\\",\\"TypeError: Cannot set property signal of #<Request> which has only a getter\\",\\"TypeError: Cannot assign to read only property \'cache\' of object \'#<Request>\'\\"],\\"GET\\"]"',
        ],
        rows: ["request: attributes cannot be assigned"],
      },
    ],
  },
  {
    why: "More than one empty line in front of a request is refused",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 5",
          'body: "hello"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 22",
          'body: "malformed request line"',
          "connection: closed",
        ],
        rows: ["keep: two empty lines first"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "transfer-encoding: chunked",
          "framing: chunked",
          'body: "onetwo"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 22",
          "content-type: text/plain;charset=UTF-8",
          "framing: content-length",
          'body: "malformed request line"',
          "connection: closed",
        ],
        rows: ["keep: two empty lines first, a stream"],
      },
    ],
  },
  {
    why: "A target of another scheme than http and https is refused",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 16",
          'body: "ftp://other/path"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target ftp://other/path"],
      },
    ],
  },
  {
    why: "A body of known length that is passed on loses its length: chunked",
    differences: [
      {
        deno: ["content-length: 16", "framing: content-length"],
        millrace: ["transfer-encoding: chunked", "framing: chunked"],
        rows: ["body read as echo, with a length"],
      },
      {
        deno: ["content-length: 5", "framing: content-length"],
        millrace: ["transfer-encoding: chunked", "framing: chunked"],
        rows: ["body read as echo, not UTF-8"],
      },
    ],
  },
  {
    why:
      "A stream in answer to HEAD closes a kept HTTP/1.0 connection, though no body follows",
    differences: [
      {
        deno: ["HTTP/1.0 200 OK", "connection: keep-alive"],
        millrace: ["HTTP/1.1 200 OK", "connection: close"],
        rows: ["keep: HTTP/1.0 HEAD, keep-alive, a stream"],
      },
    ],
  },
  {
    why: "A string whose stream is locked, but not read, is an error",
    differences: [
      {
        deno: ["HTTP/1.1 200 OK", "content-length: 5", 'body: "hello"'],
        millrace: [
          "HTTP/1.1 500 Internal Server Error",
          "content-length: 21",
          'body: "Internal Server Error"',
        ],
        rows: ["response whose body is locked"],
      },
    ],
  },
  {
    why:
      "transfer-encoding of the handler does not make a body of known length chunked",
    differences: [
      {
        deno: ["transfer-encoding: chunked", "framing: chunked"],
        millrace: ["content-length: 5", "framing: content-length"],
        rows: [
          "response with transfer-encoding: chunked",
          "response with transfer-encoding: gzip",
        ],
      },
      {
        deno: ["transfer-encoding: chunked", "framing: chunked"],
        millrace: ["content-length: 0", "framing: content-length"],
        rows: ["null body with transfer-encoding: chunked"],
      },
    ],
  },
  {
    why:
      "The answer that stands for an error of the handler has a content-type",
    differences: [
      {
        deno: [],
        millrace: ["content-type: text/plain;charset=UTF-8"],
        rows: [
          "body read as byob, empty, with length 0",
          "body read as byob, missing",
          "Response.error",
          "response whose body was read",
          "response whose stream was read partly",
          "handler returns undefined",
          "handler returns null",
          "handler returns a string",
          "handler returns an object",
          "handler returns a Promise of undefined",
          "handler throws an error",
          "handler throws a string",
          "handler throws undefined",
          "handler throws a Response",
          "handler rejects",
          "handler throws, to HEAD",
          "handler throws with a body unread",
          "onError throws",
          "onError rejects",
          "onError returns undefined",
          "pipeline: the first one fails",
        ],
      },
      {
        deno: [],
        millrace: ["2: content-type: text/plain;charset=UTF-8"],
        rows: ["response returned twice", "json response returned twice"],
      },
    ],
  },
  {
    why: "418 is spelt otherwise",
    differences: [
      {
        deno: ["HTTP/1.1 418 I'm a teapot"],
        millrace: ["HTTP/1.1 418 I'm a Teapot"],
        rows: ["response with status 418", "response with status 418, to HEAD"],
      },
    ],
  },
  {
    why:
      "The status text of the handler is sent, but not of a bare 200 with a string",
    differences: [
      {
        deno: ["HTTP/1.1 404 Not Found"],
        millrace: ["HTTP/1.1 404 Nope"],
        rows: [
          "response with own status text of 404",
          "response with own status text of 404, to HEAD",
        ],
      },
      {
        deno: ["HTTP/1.1 200 OK"],
        millrace: ["HTTP/1.1 200 Very Well"],
        rows: [
          "response with own status text and a field",
          "response with own status text and a field, to HEAD",
        ],
      },
      {
        deno: ["HTTP/1.1 299 "],
        millrace: ["HTTP/1.1 299 Hm"],
        rows: [
          "response with own status text of an unknown status",
          "response with own status text of an unknown status, to HEAD",
        ],
      },
    ],
  },
];
