// SPDX-License-Identifier: Apache-2.0
// differential_intended_requests.ts - where Millrace is meant to take
// another view of a request than Deno.serve, and why; with the lines of the
// transcripts that only one of them has.

import type { Known } from "./differential_rows.ts";

export const INTENDED_REQUESTS: readonly Known[] = [
  {
    why: "User information in a target is refused (RFC 9110 section 4.2.4)",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 27",
          'body: "http://user:pass@other/path"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target http://user:pass@other/path"],
      },
    ],
  },
  {
    why:
      "A target of another scheme than http and https is refused (RFC 9110 section 7.4)",
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
    why:
      "A host that no URL can have is refused, so that `new URL(request.url)` never throws",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 21",
          'body: "http://1.256.0.1/path"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 35",
          'body: "missing, repeated or malformed Host"',
          "connection: closed",
        ],
        rows: ["target http://1.256.0.1/path"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 12",
          'body: "http://a.1/a"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 35",
          'body: "missing, repeated or malformed Host"',
          "connection: closed",
        ],
        rows: ['host "Host: a.1"'],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 18",
          'body: "http://1.256.0.1/a"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 35",
          'body: "missing, repeated or malformed Host"',
          "connection: closed",
        ],
        rows: ['host "Host: 1.256.0.1"'],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 14",
          'body: "http://xn--a/a"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 35",
          'body: "missing, repeated or malformed Host"',
          "connection: closed",
        ],
        rows: ['host "Host: xn--a"'],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 14",
          'body: "http://a%2Fb/a"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 35",
          'body: "missing, repeated or malformed Host"',
          "connection: closed",
        ],
        rows: ['host "Host: a%2Fb"'],
      },
    ],
  },
  {
    why:
      "More than eight empty lines in front of a request are refused (RFC 9112 section 2.2 asks for one)",
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
        rows: ["keep: nine empty lines first"],
      },
    ],
  },
  {
    why:
      "`request.signal` does not abort after a response that was sent: the client has not left",
    differences: [
      {
        deno: ["2: content-length: 4", '2: body: "true"'],
        millrace: ["2: content-length: 5", '2: body: "false"'],
        rows: ["request: signal after the response"],
      },
    ],
  },
  {
    why: "A request can be read for as long as it is kept",
    differences: [
      {
        deno: [
          "2: HTTP/1.1 500 Internal Server Error",
          "2: content-length: 21",
          '2: body: "Internal Server Error"',
        ],
        millrace: [
          "2: HTTP/1.1 200 OK",
          "2: content-length: 17",
          "2: content-type: text/plain;charset=UTF-8",
          '2: body: "GET http://test/1"',
        ],
        rows: ["request kept: its head can be read after the response"],
      },
    ],
  },
  {
    why: "A fragment is no part of a target (RFC 9112 section 3.2)",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 17",
          'body: "http://test/a?b#c"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target /a?b#c"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 13",
          'body: "http://test/#"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target /#"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 17",
          'body: "http://test/a#b?c"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target /a#b?c"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 51",
          'body: "[\\"GET\\",\\"http://test/a/../b?c#d\\",[[\\"x-b\\",\\"2\\"]],null]"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["request: new Request of a GET"],
      },
    ],
  },
  {
    why:
      "Characters that no URI may have raw are refused in a target (RFC 9112 section 3.2)",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 15",
          'body: "http://test/a\\\\b"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target /a\\b"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 15",
          'body: "http://test/a\\"b"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ['target /a"b'],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 17",
          'body: "http://test/a<b>c"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target /a<b>c"],
      },
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 14",
          'body: "http://test/\u00c3\u00a4"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 400 Bad Request",
          "connection: close",
          "content-length: 24",
          'body: "malformed request target"',
          "connection: closed",
        ],
        rows: ["target /\u00c3\u00a4"],
      },
    ],
  },
  {
    why: '`redirect` of a request is "follow", as in the Fetch standard',
    differences: [
      {
        deno: [
          "content-length: 187",
          'body: "{\\"cache\\":\\"default\\",\\"credentials\\":\\"same-origin\\",\\"integrity\\":\\"\\",\\"keepalive\\":false,\\"mode\\":\\"cors\\",\\"referrer\\":\\"about:client\\",\\"referrerPolicy\\":\\"\\",\\"isHistory\\":null,\\"isReload\\":null,\\"duplex\\":null}"',
        ],
        millrace: [
          "content-length: 207",
          'body: "{\\"cache\\":\\"default\\",\\"credentials\\":\\"same-origin\\",\\"integrity\\":\\"\\",\\"keepalive\\":false,\\"mode\\":\\"cors\\",\\"redirect\\":\\"follow\\",\\"referrer\\":\\"about:client\\",\\"referrerPolicy\\":\\"\\",\\"isHistory\\":null,\\"isReload\\":null,\\"duplex\\":null}"',
        ],
        rows: [
          "request: attributes of fetch",
          "request: attributes of fetch, with a body",
        ],
      },
      {
        deno: [
          "content-length: 148",
          'body: "Request {\\n  bodyUsed: false,\\n  headers: Headers { host: \\"test\\", \\"x-a\\": \\"1\\" },\\n  method: \\"GET\\",\\n  redirect: undefined,\\n  url: \\"http://test/inspect\\"\\n}"',
        ],
        millrace: [
          "content-length: 147",
          'body: "Request {\\n  bodyUsed: false,\\n  headers: Headers { host: \\"test\\", \\"x-a\\": \\"1\\" },\\n  method: \\"GET\\",\\n  redirect: \\"follow\\",\\n  url: \\"http://test/inspect\\"\\n}"',
        ],
        rows: ["request: Deno.inspect"],
      },
      {
        deno: [
          "content-length: 93",
          'body: "[\\"POST\\",\\"http://test/\\",[[\\"content-length\\",\\"4\\"],[\\"host\\",\\"test\\"],[\\"x-a\\",\\"1\\"]],null,true,\\"body\\"]"',
        ],
        millrace: [
          "content-length: 97",
          'body: "[\\"POST\\",\\"http://test/\\",[[\\"content-length\\",\\"4\\"],[\\"host\\",\\"test\\"],[\\"x-a\\",\\"1\\"]],\\"follow\\",true,\\"body\\"]"',
        ],
        rows: ["request: new Request(request)"],
      },
    ],
  },
  {
    why: "The body of a request is a byte stream, as in the Fetch standard",
    differences: [
      {
        deno: [
          "HTTP/1.1 500 Internal Server Error",
          "content-length: 21",
          'body: "Internal Server Error"',
        ],
        millrace: [
          "HTTP/1.1 200 OK",
          "content-length: 30",
          "content-type: text/plain;charset=UTF-8",
          'body: "[\\"{\\\\\\"a\\\\\\":[1,2,\\\\\\"\u00ef\u00bf\u00bd\u00ef\u00bf\u00bd\\\\\\"]}\\",0]"',
        ],
        rows: ["body read as byob, with a length"],
      },
      {
        deno: [
          "HTTP/1.1 500 Internal Server Error",
          "content-length: 21",
          'body: "Internal Server Error"',
        ],
        millrace: [
          "HTTP/1.1 200 OK",
          "content-length: 19",
          "content-type: text/plain;charset=UTF-8",
          'body: "[\\"{\\\\\\"a\\\\\\":[1,2]}\\",0]"',
        ],
        rows: ["body read as byob, in chunks"],
      },
      {
        deno: [
          "HTTP/1.1 500 Internal Server Error",
          "content-length: 21",
          'body: "Internal Server Error"',
        ],
        millrace: [
          "HTTP/1.1 200 OK",
          "content-length: 6",
          "content-type: text/plain;charset=UTF-8",
          'body: "[\\"\\",0]"',
        ],
        rows: ["body read as byob, empty, in chunks"],
      },
      {
        deno: [
          "HTTP/1.1 500 Internal Server Error",
          "content-length: 21",
          'body: "Internal Server Error"',
        ],
        millrace: [
          "HTTP/1.1 200 OK",
          "content-length: 22",
          "content-type: text/plain;charset=UTF-8",
          'body: "[\\"\\\\\\"\u00ef\u00bf\u00bd\u00ef\u00bf\u00bd\\\\u0000\\\\\\"\\",0]"',
        ],
        rows: ["body read as byob, not UTF-8"],
      },
    ],
  },
  {
    why:
      "`json()` of a request ignores a byte order mark, as in the Fetch standard",
    differences: [
      {
        deno: [
          "content-length: 65",
          'body: "\\"SyntaxError: Unexpected token \'\u00ef\u00bb\u00bf\', \\\\\\"\u00ef\u00bb\u00bf1\\\\\\" is not valid JSON\\""',
        ],
        millrace: ["content-length: 11", 'body: "{\\"value\\":1}"'],
        rows: ["body: a byte order mark as JSON"],
      },
    ],
  },
  {
    why:
      "An unknown expectation is answered with 417 (RFC 9110 section 10.1.1)",
    differences: [
      {
        deno: [
          "HTTP/1.1 200 OK",
          "content-length: 5",
          'body: "hello"',
          "connection: open",
        ],
        millrace: [
          "HTTP/1.1 417 Expectation Failed",
          "connection: close",
          "content-length: 19",
          'body: "unknown expectation"',
          "connection: closed",
        ],
        rows: ["expect: something else"],
      },
    ],
  },
  {
    why: "HTTP/1.2 is read as HTTP/1.1 (RFC 9110 section 2.5)",
    differences: [
      {
        deno: ["4xx", "connection: closed"],
        millrace: ["2xx", "connection: open"],
        rows: ["malformed: HTTP/1.2"],
      },
    ],
  },
  {
    why: "Another major version is answered with 505 (RFC 9110 section 15.6.6)",
    differences: [
      {
        deno: ["4xx"],
        millrace: ["5xx"],
        rows: ["malformed: HTTP/2.0", "malformed: HTTP/0.9"],
      },
    ],
  },
  {
    why:
      "A line ends with CRLF, not with LF alone (RFC 9112 section 2.2 allows to insist)",
    differences: [
      {
        deno: ["2xx", "connection: open"],
        millrace: ["4xx", "connection: closed"],
        rows: ["malformed: LF alone", "malformed: LF alone after a field"],
      },
    ],
  },
  {
    why:
      "A Host that is missing or malformed is refused (RFC 9112 section 3.2)",
    differences: [
      {
        deno: ["2xx", "connection: open"],
        millrace: ["4xx", "connection: closed"],
        rows: [
          "malformed: no Host",
          "malformed: a Host with a blank",
          "malformed: a Host with a slash",
          "malformed: a Host with a user",
          "malformed: a Host with a bad port",
          "malformed: a list of Hosts",
          "malformed: a Host with a Latin-1 letter",
        ],
      },
    ],
  },
  {
    why:
      "A repeated Content-Length is refused even with equal values (RFC 9112 section 6.3 allows it)",
    differences: [
      {
        deno: ["2xx", "connection: open"],
        millrace: ["4xx", "connection: closed"],
        rows: ["malformed: two equal lengths"],
      },
    ],
  },
  {
    why:
      "Another transfer coding than chunked is answered with 501 (RFC 9112 section 6.1)",
    differences: [
      {
        deno: ["4xx"],
        millrace: ["5xx"],
        rows: [
          "malformed: coding gzip",
          "malformed: coding identity",
          "malformed: coding xchunked",
        ],
      },
      {
        deno: ["2xx", "connection: open"],
        millrace: ["5xx", "connection: closed"],
        rows: ["malformed: coding gzip, chunked"],
      },
    ],
  },
  {
    why: "A chunk size has no blanks (RFC 9112 section 7.1)",
    differences: [
      {
        deno: ["2xx", "connection: open"],
        millrace: ["4xx", "connection: closed"],
        rows: [
          "malformed chunks: a blank before the size",
          "malformed chunks: a blank after the size",
        ],
      },
    ],
  },
  {
    why: "A malformed chunk is answered with 400, where Deno.serve only closes",
    differences: [
      {
        deno: [],
        millrace: ["4xx"],
        rows: [
          "malformed chunks: no size",
          "malformed chunks: size xyz",
          "malformed chunks: size 0x1",
          "malformed chunks: size -1",
          "malformed chunks: size of 17 digits",
          "malformed chunks: data longer than its size",
          "malformed chunks: LF alone after the size",
          "malformed chunks: LF alone after the data",
          "malformed chunks: LF alone in an extension",
          "malformed chunks: a malformed trailer",
          "malformed chunks: a trailer without a colon",
        ],
      },
    ],
  },
];
