// SPDX-License-Identifier: Apache-2.0
// Tests of lib/files.ts: which file a URL names, and what a request's fields
// make of it.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { serveDir, type ServeDirOptions, serveFile } from "../lib/files.ts";
import { CHANGED, Site } from "./site.ts";

type Fields = Record<string, string>;

const DATE = "Mon, 06 May 2024 07:08:09 GMT";

function request(
  target: string,
  headers: Fields = {},
  method = "GET",
): Request {
  return new Request(`http://test${target}`, { headers, method });
}

/** Runs `fn` over a site and expects that no file stays open. */
async function withSite(fn: (site: Site) => Promise<void>): Promise<void> {
  using site = new Site();
  await fn(site);
  assertEquals(site.open(), 0, "a file was left open");
}

function siteTest(name: string, fn: (site: Site) => Promise<void>): void {
  Deno.test(name, () => withSite(fn));
}

siteTest(
  "serveFile() answers with the file and what is known of it",
  async (site) => {
    site.put("page.html", "<p>hi");
    const response = serveFile(request("/any"), `${site.www}/page.html`);
    assertEquals(response.status, 200);
    const { headers } = response;
    assertEquals(headers.get("content-type"), "text/html; charset=UTF-8");
    assertEquals(headers.get("content-length"), "5");
    assertEquals(headers.get("last-modified"), DATE);
    assertEquals(headers.get("accept-ranges"), "bytes");
    assertMatch(headers.get("etag")!, /^"[-a-z0-9]+"$/);
    assertEquals(await response.text(), "<p>hi");
  },
);

siteTest("serveFile() takes a URL, and names of any kind", async (site) => {
  for (const name of ["a b.txt", "é%20.txt", ".dot", "x:y"]) {
    site.put(name, name);
    const path = `${site.www}/${name}`;
    assertEquals(await serveFile(request("/"), path).text(), name);
    const url = new URL(
      `file://${path.split("/").map(encodeURIComponent).join("/")}`,
    );
    assertEquals(await serveFile(request("/"), url).text(), name);
  }
});

siteTest("serveFile() finds nothing but regular files", async (site) => {
  new Deno.Command("mkfifo", { args: [`${site.www}/fifo`] }).outputSync();
  const paths = [site.www, `${site.www}/none`, `${site.www}/fifo`, "/dev/null"];
  for (const path of [...paths, "a\0b", "x".repeat(5000)]) {
    const response = serveFile(request("/"), path);
    assertEquals([response.status, await response.text()], [404, "Not Found"]);
  }
  assertThrows(() => serveFile(request("/"), ""), TypeError, "path is empty");
  assertThrows(
    () => serveFile(request("/"), new URL("http://test/a")),
    TypeError,
    "no file URL",
  );
});

siteTest("misuse is told, whatever the request asks for", (site) => {
  const wrong: [options: unknown, why: string][] = [
    [{ indexes: "a" }, 'unknown option "indexes"'],
    [{ index: 1 }, '"index" must be a string, is 1'],
    [{ urlRoot: ["a"] }, '"urlRoot" must be a string'],
    [{ showDotfiles: "no" }, '"showDotfiles" must be a boolean'],
    [{ followSymlinks: 0 }, '"followSymlinks" must be a boolean'],
    [{ precompressed: "br" }, '"precompressed" must be a boolean or a list'],
    [{ precompressed: ["zstd"] }, '"precompressed" must be'],
    [{ maxRanges: -1 }, '"maxRanges" must be an integer'],
    [{ maxRanges: "3" }, '"maxRanges" must be an integer'],
  ];
  for (const [options, why] of wrong) {
    const serve = (): Response =>
      serveDir(request("/none"), site.www, options as ServeDirOptions);
    assertThrows(serve, TypeError, why);
  }
  const forDirectories = { index: "a" } as never;
  assertThrows(
    () => serveFile(request("/"), `${site.www}/none`, forDirectories),
    TypeError,
    'unknown option "index"',
  );
  const noPath = undefined as never;
  for (const serve of [serveFile, serveDir]) {
    assertThrows(
      () => serve(request("/"), noPath),
      TypeError,
      "the path must be a string or a file URL, is undefined",
    );
  }
  return Promise.resolve();
});

siteTest("other methods than GET and HEAD are not allowed", async (site) => {
  site.put("a.txt", "hello");
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
    for (
      const response of [
        serveFile(request("/", {}, method), `${site.www}/a.txt`),
        serveDir(request("/a.txt", {}, method), site.www),
      ]
    ) {
      assertEquals(response.status, 405);
      assertEquals(response.headers.get("allow"), "GET, HEAD");
      await response.body?.cancel();
    }
  }
});

siteTest(
  "HEAD has the fields of GET, ignores Range, and opens nothing for long",
  (site) => {
    site.put("a.txt", "hello");
    const head = serveDir(
      request("/a.txt", { range: "bytes=0-1" }, "HEAD"),
      site.www,
    );
    assertEquals(head.status, 200);
    assertEquals(head.headers.get("content-length"), "5");
    assertEquals(head.body, null);
    return Promise.resolve();
  },
);

siteTest("conditions are heeded in the order of RFC 9110", async (site) => {
  site.put("a.txt", "hello");
  const ask = (fields: Fields): Response =>
    serveDir(request("/a.txt", fields), site.www);
  const first = ask({});
  const etag = first.headers.get("etag")!;
  await first.body!.cancel();
  const earlier = "Mon, 06 May 2024 07:08:08 GMT";
  const later = "Mon, 06 May 2024 07:08:10 GMT";
  const cases: [fields: Fields, status: number][] = [
    [{ "if-none-match": etag }, 304],
    [{ "if-none-match": `"x", W/${etag}` }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ "if-none-match": '"x"' }, 200],
    [{ "if-none-match": '"x"', "if-modified-since": later }, 200],
    [{ "if-modified-since": DATE }, 304],
    [{ "if-modified-since": later }, 304],
    [{ "if-modified-since": earlier }, 200],
    [{ "if-modified-since": "Monday, 06-May-24 07:08:09 GMT" }, 304],
    [{ "if-modified-since": "Mon May  6 07:08:09 2024" }, 304],
    [{ "if-modified-since": "yesterday" }, 200],
    [{ "if-modified-since": "2030" }, 200],
    [{ "if-match": etag }, 200],
    [{ "if-match": "*" }, 200],
    [{ "if-match": `W/${etag}` }, 412],
    [{ "if-match": '"x"' }, 412],
    [{ "if-match": etag, "if-unmodified-since": earlier }, 200],
    [{ "if-match": etag, "if-none-match": etag }, 304],
    [{ "if-unmodified-since": earlier }, 412],
    [{ "if-unmodified-since": DATE }, 200],
    [{ "if-unmodified-since": "never" }, 200],
  ];
  for (const [fields, status] of cases) {
    const response = ask(fields);
    assertEquals(response.status, status, JSON.stringify(fields));
    assertEquals(response.headers.get("etag"), etag);
    assertEquals(await response.text(), status === 200 ? "hello" : "");
  }
});

siteTest(
  "an ETag changes with the file, and is weak just after a change",
  async (site) => {
    const tag = async (): Promise<string> => {
      const response = serveDir(request("/a.txt"), site.www);
      await response.body?.cancel();
      return response.headers.get("etag")!;
    };
    site.put("a.txt", "one");
    const first = await tag();
    assertEquals(await tag(), first);
    site.put("a.txt", "three");
    assert(await tag() !== first);
    // Another file of the same length and time.
    site.put("b.txt", "one");
    Deno.renameSync(`${site.www}/b.txt`, `${site.www}/a.txt`);
    assert(await tag() !== first);
    const later = new Date(Date.now() + 3_600_000);
    Deno.utimeSync(`${site.www}/a.txt`, later, later);
    assertMatch(await tag(), /^W\//);
  },
);

siteTest("a file from the future was not changed later than now", (site) => {
  site.put("a.txt", "hello");
  const later = new Date(Date.now() + 3_600_000);
  Deno.utimeSync(`${site.www}/a.txt`, later, later);
  const head = serveDir(request("/a.txt", {}, "HEAD"), site.www);
  const changed = Date.parse(head.headers.get("last-modified")!);
  assert(changed <= Date.now(), `${changed}`);
  return Promise.resolve();
});

siteTest("one range is answered with 206", async (site) => {
  site.put("a.txt", "0123456789");
  const cases: [range: string, text: string, field: string][] = [
    ["bytes=2-4", "234", "bytes 2-4/10"],
    ["bytes=8-", "89", "bytes 8-9/10"],
    ["bytes=-3", "789", "bytes 7-9/10"],
    ["bytes=0-99", "0123456789", "bytes 0-9/10"],
    ["bytes=3-3,50-", "3", "bytes 3-3/10"],
  ];
  for (const [range, text, field] of cases) {
    const response = serveDir(request("/a.txt", { range }), site.www);
    assertEquals(response.status, 206);
    assertEquals(response.headers.get("content-range"), field);
    assertEquals(response.headers.get("content-length"), `${text.length}`);
    assertEquals(await response.text(), text);
  }
});

siteTest("several ranges are parts of one body", async (site) => {
  site.put("a.txt", "0123456789");
  const response = serveDir(
    request("/a.txt", { range: "bytes=7-8,0-1,-1" }),
    site.www,
  );
  assertEquals(response.status, 206);
  assertEquals(response.headers.get("content-range"), null);
  const type = response.headers.get("content-type")!;
  const boundary = /^multipart\/byteranges; boundary=([-\w]+)$/.exec(type)![1]!;
  const part = (range: string, text: string): string =>
    `--${boundary}\r\ncontent-type: text/plain; charset=UTF-8\r\n` +
    `content-range: bytes ${range}/10\r\n\r\n${text}\r\n`;
  const text = await response.text();
  assertEquals(
    text,
    `${part("7-8", "78")}${part("0-1", "01")}${
      part("9-9", "9")
    }--${boundary}--\r\n`,
  );
  assertEquals(response.headers.get("content-length"), `${text.length}`);
});

siteTest(
  "ranges that cannot be satisfied are refused, others ignored",
  async (site) => {
    site.put("a.txt", "0123456789");
    site.put("empty", "");
    const ask = (range: string, options: ServeDirOptions = {}): Response =>
      serveDir(request("/a.txt", { range }), site.www, options);
    const refused = ask("bytes=10-");
    assertEquals(refused.status, 416);
    assertEquals(refused.headers.get("content-range"), "bytes */10");
    await refused.body!.cancel();
    for (const range of ["bytes=5-4", "lines=0-1", "bytes=0-5,5-6"]) {
      assertEquals(await ask(range).text(), "0123456789");
    }
    const many = ask("bytes=0-0,2-2,4-4", { maxRanges: 2 });
    assertEquals([many.status, await many.text()], [200, "0123456789"]);
    const none = serveDir(request("/empty", { range: "bytes=0-" }), site.www);
    assertEquals([none.status, none.headers.get("content-length")], [200, "0"]);
  },
);

siteTest("If-Range allows a part of the same file alone", async (site) => {
  site.put("a.txt", "0123456789");
  const ask = (field: string): Response =>
    serveDir(
      request("/a.txt", { range: "bytes=0-0", "if-range": field }),
      site.www,
    );
  const first = serveDir(request("/a.txt"), site.www);
  const etag = first.headers.get("etag")!;
  await first.body!.cancel();
  const cases: [field: string, status: number][] = [
    [etag, 206],
    [DATE, 206],
    [`W/${etag}`, 200],
    ['"x"', 200],
    ["Mon, 06 May 2024 07:08:10 GMT", 200],
    ["Mon, 06 May 2024 07:08:08 GMT", 200],
    ["nonsense", 200],
  ];
  for (const [field, status] of cases) {
    const response = ask(field);
    assertEquals(response.status, status, field);
    await response.body!.cancel();
  }
});

siteTest("compressed neighbours are sent to who takes them", async (site) => {
  site.put("a.css", "plain");
  site.put("a.css.br", "in brotli");
  site.put("a.css.gz", "in gzip");
  site.put("b.css", "only plain");
  Deno.mkdirSync(`${site.www}/b.css.br`);
  const ask = (
    target: string,
    coding: string,
    precompressed: ServeDirOptions["precompressed"] = true,
  ): Response =>
    serveDir(request(target, { "accept-encoding": coding }), site.www, {
      ...(precompressed === undefined ? {} : { precompressed }),
      headers: { vary: "Origin" },
    });
  const cases: [Response, coding: string | null, text: string][] = [
    [ask("/a.css", "gzip, br"), "br", "in brotli"],
    [ask("/a.css", "gzip, br;q=0.5"), "gzip", "in gzip"],
    [ask("/a.css", "gzip, br", ["gzip"]), "gzip", "in gzip"],
    [ask("/a.css", "zstd"), null, "plain"],
    [ask("/b.css", "gzip, br"), null, "only plain"],
  ];
  const tags = new Set<string>();
  for (const [response, coding, text] of cases) {
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("content-encoding"), coding);
    assertEquals(
      response.headers.get("content-type"),
      "text/css; charset=UTF-8",
    );
    assertEquals(response.headers.get("vary"), "Origin, Accept-Encoding");
    tags.add(response.headers.get("etag")!);
    assertEquals(await response.text(), text);
  }
  assertEquals(tags.size, 4);
  const off = ask("/a.css", "br", false);
  assertEquals(off.headers.get("vary"), "Origin");
  assertEquals(await off.text(), "plain");
});

siteTest(
  "a directory is its index, or moves to its name with a slash",
  async (site) => {
    site.put("index.html", "top");
    site.put("docs/index.html", "docs");
    site.put("docs/main.txt", "main");
    site.put("bare/x.txt", "x");
    const ask = (target: string, options: ServeDirOptions = {}): Response =>
      serveDir(request(target), site.www, options);
    assertEquals(await ask("/").text(), "top");
    assertEquals(await ask("/docs/").text(), "docs");
    assertEquals(await ask("/docs/", { index: "main.txt" }).text(), "main");
    for (
      const [target, location] of [["/docs", "./docs/"], [
        "/docs?a=//b",
        "./docs/?a=//b",
      ]]
    ) {
      const moved = ask(target!);
      assertEquals([moved.status, moved.headers.get("location")], [
        301,
        location,
      ]);
    }
    const lost = [
      "/bare/",
      "/docs/index.html/",
      "/docs//",
      "//docs",
      "//docs/",
    ];
    for (const target of lost) assertEquals(ask(target).status, 404, target);
    assertEquals(ask("/docs/", { index: "" }).status, 404);
    assertEquals(ask("/docs/", { index: "sub" }).status, 404);
  },
);

siteTest("urlRoot is what stands for the directory", async (site) => {
  site.put("a.txt", "a");
  site.put("index.html", "top");
  const ask = (target: string): Response =>
    serveDir(request(target), site.www, { urlRoot: "/static/v1/" });
  assertEquals(await ask("/static/v1/a.txt").text(), "a");
  assertEquals(await ask("/static/v1/").text(), "top");
  assertEquals(ask("/static/v1").headers.get("location"), "./v1/");
  for (const target of ["/a.txt", "/static/v12/a.txt", "/static/", "/"]) {
    assertEquals(ask(target).status, 404, target);
  }
});

siteTest(
  "headers are added, and a type of the application's own stays",
  async (site) => {
    site.put("a.unknown", "x");
    const plain = serveDir(request("/a.unknown"), site.www);
    assertEquals(plain.headers.get("content-type"), "application/octet-stream");
    await plain.body!.cancel();
    const headers = { "cache-control": "max-age=60", "content-type": "a/b" };
    const own = serveDir(request("/a.unknown"), site.www, { headers });
    assertEquals(own.headers.get("content-type"), "a/b");
    assertEquals(own.headers.get("cache-control"), "max-age=60");
    await own.body!.cancel();
    const since = { "if-modified-since": CHANGED.toUTCString() };
    const same = serveDir(request("/a.unknown", since), site.www, { headers });
    assertEquals([same.status, same.headers.get("cache-control")], [
      304,
      "max-age=60",
    ]);
  },
);

siteTest(
  "links are followed beneath the root, unless they are not wanted",
  async (site) => {
    site.put("a.txt", "a");
    Deno.writeTextFileSync(`${site.root}/canary`, "canary");
    Deno.symlinkSync("a.txt", `${site.www}/inside`);
    Deno.symlinkSync("../canary", `${site.www}/outside`);
    Deno.symlinkSync("..", `${site.www}/up`);
    Deno.symlinkSync(`${site.root}/canary`, `${site.www}/absolute`);
    Deno.symlinkSync("loop", `${site.www}/loop`);
    assertEquals(await serveDir(request("/inside"), site.www).text(), "a");
    for (const target of ["/outside", "/up/canary", "/absolute", "/loop"]) {
      assertEquals(serveDir(request(target), site.www).status, 404, target);
    }
    const strict = serveDir(request("/inside"), site.www, {
      followSymlinks: false,
    });
    assertEquals(strict.status, 404);
  },
);

siteTest(
  "a body that is cancelled closes its file, read from or not",
  async (site) => {
    site.fill("big", 200_000);
    const cancelled = serveDir(request("/big"), site.www);
    assertEquals(site.open(), 1);
    await cancelled.body!.cancel();
    assertEquals(site.open(), 0);
    const reader = serveDir(request("/big"), site.www).body!.getReader();
    assertEquals((await reader.read()).value!.length, 65536);
    await reader.cancel();
    assertEquals(site.open(), 0);
  },
);

siteTest(
  "a file that shrinks while it is read fails the body",
  async (site) => {
    site.fill("big", 200_000);
    const reader = serveDir(request("/big"), site.www).body!.getReader();
    await reader.read();
    Deno.truncateSync(`${site.www}/big`, 100);
    const error = await reader.read().then(() => null, (error) => error);
    assert(error instanceof Deno.errors.UnexpectedEof, String(error));
  },
);
