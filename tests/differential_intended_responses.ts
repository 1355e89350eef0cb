// SPDX-License-Identifier: Apache-2.0
// differential_intended_responses.ts - where Millrace is meant to answer
// otherwise than Deno.serve, and why; with the lines of the transcripts that
// only one of them has.

import type { Known } from "./differential_rows.ts";

export const INTENDED_RESPONSES: readonly Known[] = [
  {
    why:
      "A 2xx to CONNECT that was not upgraded is an error: what follows it is a tunnel (RFC 9110 section 9.3.6)",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 23",
          "content-type: text/plain;charset=UTF-8",
          'body: "CONNECT http://other:80"',
        ],
        millrace: [
          "HTTP/1.1 500 Internal Server Error",
          "content-length: 21",
          'body: "Internal Server Error"',
        ],
        rows: ["CONNECT"],
      },
    ],
  },
  {
    why:
      "HTTP/1.0 is answered with the server's own version, and says when it closes (RFC 9110 section 6.2, RFC 9112 section 9.6)",
    differences: [
      {
        deno: ["HTTP/1.0 200 OK"],
        millrace: ["HTTP/1.1 200 OK", "connection: close"],
        rows: [
          "request: URL without Host is that of the server",
          "response: a string, to HTTP/1.0",
          "response: an empty string, to HTTP/1.0",
          "response: non-ASCII text, to HTTP/1.0",
          "response: a lone surrogate, to HTTP/1.0",
          "response: 300 KB of text, to HTTP/1.0",
          "response: 100 KB of non-ASCII text, to HTTP/1.0",
          "response: bytes, to HTTP/1.0",
          "response: no bytes, to HTTP/1.0",
          "response: a part of a buffer, to HTTP/1.0",
          "response: an ArrayBuffer, to HTTP/1.0",
          "response: a DataView, to HTTP/1.0",
          "response: a blob, to HTTP/1.0",
          "response: a blob without a type, to HTTP/1.0",
          "response: an empty blob, to HTTP/1.0",
          "response: form data, to HTTP/1.0",
          "response: URL parameters, to HTTP/1.0",
          "response: a stream, to HTTP/1.0",
          "response: an empty stream, to HTTP/1.0",
          "response: a stream with an empty piece, to HTTP/1.0",
          "response: a stream of 300 KB, to HTTP/1.0",
          "response: a byte stream, to HTTP/1.0",
          "response: a stream of an iterable, to HTTP/1.0",
          "response: a stream through another, to HTTP/1.0",
          "response: the stream of a blob, to HTTP/1.0",
          "response: an iterable, to HTTP/1.0",
          "response: a file, to HTTP/1.0",
          "response: an object, to HTTP/1.0",
          "response: nothing, to HTTP/1.0",
          "keep: HTTP/1.0",
          "keep: HTTP/1.0, a stream",
          "keep: HTTP/1.0, keep-alive, a stream",
          "keep: HTTP/1.0, Keep-Alive, a stream",
          "keep: HTTP/1.0, close",
          "keep: HTTP/1.0, close, a stream",
          "keep: HTTP/1.0 without Host",
          "keep: HTTP/1.0 without Host, a stream",
        ],
      },
      {
        deno: ["HTTP/1.0 200 OK"],
        millrace: ["HTTP/1.1 200 OK"],
        rows: [
          "keep: HTTP/1.0, keep-alive",
          "keep: HTTP/1.0, Keep-Alive",
          "keep: HTTP/1.0 HEAD, keep-alive",
          "keep: HTTP/1.0 POST with a length",
          "keep: HTTP/1.0 POST without a length",
          "pipeline: HTTP/1.1 after HTTP/1.0 with keep-alive",
        ],
      },
      {
        deno: ["HTTP/1.0 204 No Content"],
        millrace: ["HTTP/1.1 204 No Content"],
        rows: ["keep: HTTP/1.0 keep-alive, 204"],
      },
    ],
  },
  {
    why:
      "A request without framing has an empty body of known length (RFC 9112 section 6.3)",
    differences: [
      {
        deno: ["transfer-encoding: chunked", "framing: chunked"],
        millrace: ["content-length: 0", "framing: content-length"],
        rows: ["body read as echo, missing"],
      },
    ],
  },
  {
    why:
      "Up to 64 KiB of an unread body are read and dropped to keep the connection",
    differences: [
      {
        deno: ["connection: close", "connection: closed"],
        millrace: ["connection: open"],
        rows: ["unread: 60 KB with a length"],
      },
    ],
  },
  {
    why: "HEAD is told the length that GET would get (RFC 9110 section 8.6)",
    differences: [
      {
        deno: ["content-length: 3"],
        millrace: ["content-length: 5"],
        rows: ["response with content-length, too short, to HEAD"],
      },
      {
        deno: ["content-length: 9"],
        millrace: ["content-length: 5"],
        rows: ["response with content-length, too long, to HEAD"],
      },
    ],
  },
  {
    why:
      "A handler that says Connection: close gets its connection closed (RFC 9112 section 9.6)",
    differences: [
      {
        deno: ["connection: open"],
        millrace: ["connection: closed"],
        rows: [
          "response with connection: close",
          "response with connection: close, to HEAD",
          "stream with connection: close",
          "null body with connection: close",
          "null body with connection: close, to HEAD",
        ],
      },
      {
        deno: ["connection: Close", "connection: open"],
        millrace: ["connection: close", "connection: closed"],
        rows: [
          "response with connection: Close",
          "response with connection: Close, to HEAD",
        ],
      },
      {
        deno: ["connection: open"],
        millrace: ["transfer-encoding: chunked", "connection: closed"],
        rows: ["stream with connection: close, to HEAD"],
      },
      {
        deno: [
          "2: HTTP/1.1 200 OK",
          "2: connection: close",
          "2: content-length: 13",
          "2: content-type: text/plain;charset=UTF-8",
          "2: date: (now)",
          "2: framing: content-length",
          '2: body: "http://test/2"',
          "connection: open",
        ],
        millrace: ["connection: closed"],
        rows: ["keep: the handler says close, a second request"],
      },
    ],
  },
  {
    why: "205 says that it is empty (RFC 9110 section 15.3.6)",
    differences: [
      {
        deno: [],
        millrace: ["content-length: 0", "framing: content-length", 'body: ""'],
        rows: ["null body: 205", "null body: 205 with a content-length"],
      },
      {
        deno: [],
        millrace: ["content-length: 0"],
        rows: ["null body: 205, to HEAD"],
      },
    ],
  },
  {
    why:
      "HEAD is told the transfer-encoding that GET would get (RFC 9110 section 9.3.2)",
    differences: [
      {
        deno: [],
        millrace: ["transfer-encoding: chunked"],
        rows: [
          "response: a blob, to HEAD",
          "response: a blob without a type, to HEAD",
          "response: an empty blob, to HEAD",
          "response: form data, to HEAD",
          "response: a stream, to HEAD",
          "response: an empty stream, to HEAD",
          "response: a stream with an empty piece, to HEAD",
          "response: a stream of 300 KB, to HEAD",
          "response: a byte stream, to HEAD",
          "response: a stream of an iterable, to HEAD",
          "response: a stream through another, to HEAD",
          "response: the stream of a blob, to HEAD",
          "response: an iterable, to HEAD",
          "response: a file, to HEAD",
          "stream with transfer-encoding: chunked, to HEAD",
          "stream breaks, to HEAD",
          "keep: HEAD, close, a stream",
        ],
      },
    ],
  },
  {
    why:
      "What the last response says is close, and only that (RFC 9112 section 9.6)",
    differences: [
      {
        deno: ["connection: keep-alive"],
        millrace: [],
        rows: ["keep: close and the handler says keep-alive"],
      },
    ],
  },
  {
    why:
      "A client that ended only its direction (FIN) gets its answer (RFC 9112 section 9.6)",
    differences: [
      {
        deno: [],
        millrace: [
          "HTTP/1.1 200 OK",
          "connection: close",
          "content-length: 5",
          "content-type: text/plain;charset=UTF-8",
          "date: (now)",
          "framing: content-length",
          'body: "hello"',
        ],
        rows: ["keep: FIN in front of a late answer"],
      },
    ],
  },
  {
    why:
      "What is said to HTTP/1.0 of the connection is what happens (RFC 9112 section 9.6)",
    differences: [
      {
        deno: ["HTTP/1.0 200 OK", "connection: keep-alive"],
        millrace: ["HTTP/1.1 200 OK", "connection: close"],
        rows: ["keep: HTTP/1.0, the handler says keep-alive"],
      },
      {
        deno: ["HTTP/1.0 200 OK", "connection: keep-alive", "connection: open"],
        millrace: ["HTTP/1.1 200 OK", "connection: closed"],
        rows: ["keep: HTTP/1.0 keep-alive, the handler says close"],
      },
    ],
  },
  {
    why:
      "HTTP/1.0 with keep-alive is kept after a stream of known length, or in answer to HEAD (RFC 9112 section 9.3)",
    differences: [
      {
        deno: ["HTTP/1.0 200 OK", "connection: closed"],
        millrace: ["HTTP/1.1 200 OK", "connection: open"],
        rows: [
          "keep: HTTP/1.0 keep-alive, a stream with a length",
          "keep: HTTP/1.0 HEAD, keep-alive, a stream",
        ],
      },
    ],
  },
  {
    why: "HTTP/1.0 is not sent 100 Continue (RFC 9110 section 10.1.1)",
    differences: [
      {
        deno: [
          "HTTP/1.1 100 Continue",
          "2: HTTP/1.0 200 OK",
          "2: content-length: 4",
          "2: content-type: text/plain;charset=UTF-8",
          "2: date: (now)",
          "2: framing: content-length",
          '2: body: "body"',
        ],
        millrace: [
          "HTTP/1.1 200 OK",
          "connection: close",
          "content-length: 4",
          "content-type: text/plain;charset=UTF-8",
          "date: (now)",
          "framing: content-length",
          'body: "body"',
        ],
        rows: ["expect: HTTP/1.0"],
      },
    ],
  },
  {
    why:
      "100 Continue is sent when the body is wanted, and a final answer instead when it is not (RFC 9110 section 10.1.1)",
    differences: [
      {
        deno: [
          "HTTP/1.1 100 Continue",
          "2: HTTP/1.1 200 OK",
          "2: connection: close",
          "2: content-length: 5",
          "2: content-type: text/plain;charset=UTF-8",
          "2: date: (now)",
          "2: framing: content-length",
          '2: body: "hello"',
          "connection: closed",
        ],
        millrace: [
          "HTTP/1.1 200 OK",
          "connection: close",
          "content-length: 5",
          "content-type: text/plain;charset=UTF-8",
          "date: (now)",
          "framing: content-length",
          'body: "hello"',
        ],
        rows: ["expect: body unread"],
      },
      {
        deno: [
          "HTTP/1.1 100 Continue",
          "2: HTTP/1.1 413 Payload Too Large",
          "2: connection: close",
          "2: content-length: 2",
          "2: content-type: text/plain;charset=UTF-8",
          "2: date: (now)",
          "2: framing: content-length",
          '2: body: "no"',
          "connection: closed",
        ],
        millrace: [
          "HTTP/1.1 413 Payload Too Large",
          "connection: close",
          "content-length: 2",
          "content-type: text/plain;charset=UTF-8",
          "date: (now)",
          "framing: content-length",
          'body: "no"',
        ],
        rows: ["expect: refused by the handler"],
      },
    ],
  },
  {
    why:
      "After a stream longer than its content-length, of which both send what fits, the error is logged and the connection closed",
    differences: [
      {
        deno: ["connection: open"],
        millrace: ["connection: closed"],
        rows: ["stream with content-length, too short"],
      },
    ],
  },
  {
    why:
      "A request body that is passed on keeps its length and leaves the connection usable",
    differences: [
      {
        deno: [
          "2: connection: close",
          "2: transfer-encoding: chunked",
          "2: framing: chunked",
          "connection: closed",
        ],
        millrace: [
          "2: content-length: 4",
          "2: framing: content-length",
          "connection: open",
        ],
        rows: ["expect: body read as a stream"],
      },
      {
        deno: [
          "connection: close",
          "transfer-encoding: chunked",
          "framing: chunked",
          "connection: closed",
        ],
        millrace: [
          "content-length: 307200",
          "framing: content-length",
          "connection: open",
        ],
        rows: ["body: passed on, 300 KiB with a length"],
      },
    ],
  },
  {
    why:
      "A copy or clone of a request passes its body on in chunks: the body may still be coming in",
    differences: [
      {
        deno: ["content-length: 4", "framing: content-length"],
        millrace: ["transfer-encoding: chunked", "framing: chunked"],
        rows: [
          "body: passed on, of a copy",
          "body: passed on, of a clone",
        ],
      },
    ],
  },
  {
    why:
      "A stream that two responses share can be read once, as in the Fetch standard",
    differences: [
      {
        deno: ["content-length: 15", 'body: "[\\"body\\",\\"body\\"]"'],
        millrace: [
          "content-length: 43",
          'body: "[\\"body\\",\\"TypeError: Body already consumed\\"]"',
        ],
        rows: ["body: passed on twice"],
      },
    ],
  },
  {
    why:
      "A handler's transfer-encoding is not sent: framing is the server's (RFC 9112 section 6.1)",
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
    why: "The status text of a response is sent",
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
          "response with own status text",
          "response with own status text, to HEAD",
          "response with own status text and a field",
          "response with own status text and a field, to HEAD",
        ],
      },
      {
        deno: ["HTTP/1.1 200 OK"],
        millrace: ["HTTP/1.1 200 \u00e4"],
        rows: [
          "response with status text with an umlaut",
          "response with status text with an umlaut, to HEAD",
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
