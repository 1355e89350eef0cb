// SPDX-License-Identifier: Apache-2.0
// Tests of files on their way through a server: from file to socket, or as a
// stream where somebody wants to read it.

import { assert, assertEquals } from "@std/assert";
import { serveDir, serveFile } from "../lib/files.ts";
import { runChild } from "./child.ts";
import { get, RawClient } from "./raw_client.ts";
import { Site } from "./site.ts";
import {
  assertSameBytes,
  type Context,
  testBackends,
  until,
} from "./testing.ts";

const MIB = 1 << 20;
const FILES = new URL("../lib/files.ts", import.meta.url).href;
const TESTING = new URL("testing.ts", import.meta.url).href;

/** A test with a site, of which nothing stays open. */
function siteTest(
  name: string,
  fn: (context: Context, site: Site) => Promise<void>,
): void {
  testBackends(name, async (context) => {
    using site = new Site();
    await fn(context, site);
    await until(() => site.open() === 0, "every file is closed");
  });
}

async function connect(
  { serve, using }: Context,
  site: Site,
): Promise<RawClient> {
  const server = serve((request) => serveDir(request, site.www));
  return using(await RawClient.connect(server));
}

siteTest(
  "files of every size arrive whole, one after the other",
  async (context, site) => {
    const client = await connect(context, site);
    for (const size of [0, 1, 16383, 16384, 16385, 65536, MIB, 5 * MIB + 1]) {
      const bytes = site.fill("file", size);
      const response = await client.request(get("/file"));
      assertEquals(response.status, 200);
      assertEquals(response.field("content-length"), `${size}`);
      assertSameBytes(response.body, bytes, `${size} bytes`);
    }
  },
);

siteTest(
  "requests behind files are answered in order",
  async (context, site) => {
    const client = await connect(context, site);
    const big = site.fill("big", 2 * MIB);
    const small = site.fill("small", 100);
    const names = ["big", "small", "none", "big", "small", "small"];
    await client.write(names.map((name) => get(`/${name}`)).join(""));
    for (const name of names) {
      const response = await client.response();
      assertEquals(response.status, name === "none" ? 404 : 200);
      if (name === "none") continue;
      assertSameBytes(response.body, name === "big" ? big : small, name);
    }
  },
);

siteTest(
  "HTTP/1.0, HEAD and Connection: close work for files",
  async (context, site) => {
    const big = site.fill("big", MIB);
    const { addr } = context.serve((request) => serveDir(request, site.www));
    const first = context.using(await RawClient.connect({ addr }));
    const head = await first.request(
      "HEAD /big HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    assertEquals([head.status, head.field("content-length")], [200, `${MIB}`]);
    const whole = await first.request(get("/big", "Connection: close\r\n"));
    assertSameBytes(whole.body, big, "with close");
    assertEquals(await first.rest(), "");
    const second = context.using(await RawClient.connect({ addr }));
    const old = await second.request("GET /big HTTP/1.0\r\n\r\n");
    assertSameBytes(old.body, big, "HTTP/1.0");
    assertEquals(await second.rest(), "");
  },
);

siteTest(
  "a client that has ended its side still gets its file",
  async (context, site) => {
    const big = site.fill("big", 3 * MIB);
    const client = await connect(context, site);
    await client.write(get("/big"));
    await client.closeWrite();
    assertSameBytes((await client.response()).body, big, "the file");
    assertEquals(await client.rest(), "");
  },
);

siteTest(
  "one range and several go from file to socket",
  async (context, site) => {
    const client = await connect(context, site);
    const bytes = site.fill("big", 2 * MIB);
    const one = await client.request(
      get("/big", "Range: bytes=1000-1100000\r\n"),
    );
    assertEquals(one.status, 206);
    assertSameBytes(one.body, bytes.subarray(1000, 1100001), "one range");
    const ranges = [[5, 5], [100_000, 900_000], [20, 16_403], [
      2_000_000,
      2_097_151,
    ]];
    const list = ranges.map((range) => range.join("-")).join();
    const several = await client.request(
      get("/big", `Range: bytes=${list}\r\n`),
    );
    assertEquals(several.status, 206);
    let at = 0;
    for (const [start, end] of ranges) {
      const mark =
        `content-range: bytes ${start}-${end}/${bytes.length}\r\n\r\n`;
      at = several.text.indexOf(mark, 0) === -1
        ? -1
        : find(several.body, mark, at);
      const part = several.body.subarray(at, at + end! - start! + 1);
      assertSameBytes(part, bytes.subarray(start!, end! + 1), mark);
      at += part.length;
    }
    assertEquals((await client.request(get("/none"))).status, 404);
  },
);

/** Where the text ends in the bytes. */
function find(bytes: Uint8Array, text: string, from: number): number {
  const mark = new TextEncoder().encode(text);
  for (let at = from; at + mark.length <= bytes.length; at++) {
    if (mark.every((byte, i) => bytes[at + i] === byte)) {
      return at + mark.length;
    }
  }
  throw new Error(`Not found: ${text}`);
}

siteTest("offsets beyond 4 GiB are right", async (context, site) => {
  const client = await connect(context, site);
  const size = 5 * 2 ** 30;
  using file = Deno.openSync(`${site.www}/huge`, { create: true, write: true });
  file.truncateSync(size);
  file.seekSync(size - 100_000, Deno.SeekMode.Start);
  const end = site.fill("end", 100_000);
  for (let at = 0; at < end.length;) at += file.writeSync(end.subarray(at));
  for (const length of [10, 16384, 99_999]) {
    const from = size - length;
    const tail = await client.request(
      get("/huge", `Range: bytes=${from}-\r\n`),
    );
    assertEquals(
      tail.field("content-range"),
      `bytes ${from}-${size - 1}/${size}`,
    );
    assertSameBytes(tail.body, end.subarray(end.length - length), "the tail");
  }
  const head = await client.request(
    "HEAD /huge HTTP/1.1\r\nHost: test\r\n\r\n",
  );
  assertEquals(head.field("content-length"), `${size}`);
});

siteTest(
  "the bytes do not pass through JavaScript, nor through middleware",
  async (context, site) => {
    const bytes = site.fill("big", MIB);
    let response: Response | null = null;
    const server = context.serve((request) => {
      response = serveDir(request, site.www);
      return new URL(request.url).search === ""
        ? response
        : new Response(response.body, response);
    });
    const client = context.using(await RawClient.connect(server));
    const { getReader } = ReadableStream.prototype;
    ReadableStream.prototype.getReader = (): never => {
      throw new Error("Somebody reads");
    };
    try {
      for (const target of ["/big", "/big?wrapped"]) {
        const { body } = await client.request(get(target));
        assertSameBytes(body, bytes, target);
        assert(response!.bodyUsed, "the stream must count as read");
      }
    } finally {
      ReadableStream.prototype.getReader = getReader;
    }
  },
);

siteTest(
  "middleware may pass the body on, or read it",
  async (context, site) => {
    const bytes = site.fill("big", 300_000);
    const upper = new TextEncoder().encode("more");
    const server = context.serve((request) => {
      const response = serveFile(request, `${site.www}/big`);
      switch (new URL(request.url).pathname) {
        case "/wrapped": {
          const wrapped = new Response(response.body, response);
          wrapped.headers.set("x-wrapped", "yes");
          return wrapped;
        }
        case "/cloned":
          return response.clone();
        case "/piped": {
          const headers = new Headers(response.headers);
          headers.delete("content-length");
          return new Response(
            response.body!.pipeThrough(
              new TransformStream({
                flush: (controller): void => controller.enqueue(upper),
              }),
            ),
            { headers },
          );
        }
        default: {
          const headers = {
            ...Object.fromEntries(response.headers),
            "content-length": "10",
          };
          return new Response(response.body, { headers });
        }
      }
    });
    const client = context.using(await RawClient.connect(server));
    const wrapped = await client.request(get("/wrapped"));
    assertEquals(wrapped.field("x-wrapped"), "yes");
    assertSameBytes(wrapped.body, bytes, "wrapped");
    assertSameBytes(
      (await client.request(get("/cloned"))).body,
      bytes,
      "cloned",
    );
    const piped = await client.request(get("/piped"));
    assertSameBytes(piped.body.subarray(0, bytes.length), bytes, "piped");
    assertEquals(piped.body.length, bytes.length + 4);
  },
);

siteTest("files of a client that leaves are closed", async (context, site) => {
  site.fill("big", 20 * MIB);
  const server = context.serve((request) => serveDir(request, site.www));
  for (let round = 0; round < 5; round++) {
    using client = await RawClient.connect(server);
    await client.write(get("/big"));
    await client.exactly(100_000);
    assertEquals(site.open(), 1);
  }
  await until(() => server.statistics().connections === 0, "all have left");
});

siteTest(
  "a file that comes after its server was closed is closed",
  async (context, site) => {
    site.fill("big", MIB);
    const asked = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const server = context.serve(async (request) => {
      asked.resolve();
      await closed.promise;
      return serveDir(request, site.www);
    });
    const client = context.using(await RawClient.connect(server));
    await client.write(get("/big"));
    await asked.promise;
    await server.shutdown({ timeout: 1 });
    closed.resolve();
  },
);

siteTest(
  "a client that takes nothing of a file is given up",
  async (context, site) => {
    site.fill("big", 20 * MIB);
    const server = context.serve((request) => serveDir(request, site.www), {
      stallTimeout: 300,
    });
    const client = context.using(await RawClient.connect(server));
    await client.write(get("/big"));
    await until(() => server.statistics().timeouts === 1, "the timeout");
    const { reset } = await client.ending();
    assert(reset, "a cut file must not look whole");
  },
);

siteTest(
  "a file that becomes shorter on its way is cut by a reset",
  async (context, site) => {
    site.fill("big", 20 * MIB);
    const client = await connect(context, site);
    await client.write(get("/big"));
    await client.exactly(1000);
    Deno.truncateSync(`${site.www}/big`, 100);
    const { reset } = await client.ending();
    assert(reset, "a cut file must not look whole");
  },
);

siteTest("a shutdown waits for a file on its way", async (context, site) => {
  const bytes = site.fill("big", 20 * MIB);
  const server = context.serve((request) => serveDir(request, site.www));
  const client = context.using(await RawClient.connect(server));
  await client.write(get("/big"));
  await client.through("\r\n\r\n");
  const report = server.shutdown();
  assertSameBytes(await client.exactly(bytes.length), bytes, "the file");
  assertEquals(await client.rest(), "");
  assertEquals(await report, { connections: 1, requests: 1, forced: 0 });
});

siteTest("a server that is closed closes its files", async (context, site) => {
  site.fill("big", 20 * MIB);
  const server = context.serve((request) => serveDir(request, site.www));
  const client = context.using(await RawClient.connect(server));
  await client.write(get("/big"));
  await client.exactly(1000);
  const { forced } = await server.shutdown({ timeout: 1 });
  assertEquals(forced, 1);
});

siteTest(
  "no spelling of a path leads out of the root",
  async (context, site) => {
    Deno.writeTextFileSync(`${site.root}/canary`, "canary");
    Deno.mkdirSync(`${site.root}/www-secret`);
    Deno.writeTextFileSync(`${site.root}/www-secret/canary`, "canary");
    site.put(".hidden", "canary");
    site.put("sub/.git/config", "canary");
    Deno.symlinkSync("../canary", `${site.www}/link`);
    const server = context.serve((request) => serveDir(request, site.www));
    const reconnect = async (): Promise<RawClient> =>
      context.using(await RawClient.connect(server));
    let client = await reconnect();
    const ups = [
      "..",
      "%2e%2e",
      ".%2E",
      "%2e.",
      "%252e%252e",
      "..;",
      "%c0%ae%c0%ae",
      "\\..",
      "%5c..",
    ];
    const slashes = ["/", "//", "%2f", "%2F", "%5c", "\\", "/./", "%252f"];
    const targets = [
      "/link",
      "/.hidden",
      "/%2ehidden",
      "/sub/.git/config",
      "/sub/%2egit/config",
    ];
    for (const up of ups) {
      for (const slash of slashes) {
        targets.push(
          `/${up}${slash}canary`,
          `/sub/${up}${slash}${up}${slash}canary`,
        );
        targets.push(
          `/${up}${slash}www-secret${slash}canary`,
          `/${up}${slash}www/../canary`,
        );
      }
    }
    targets.push(
      `/${site.root}/canary`,
      `//${site.root}/canary`,
      `/%2f${site.root}/canary`,
    );
    targets.push(
      "/link%00.txt",
      "/%00",
      "/sub/..%00/canary",
      "http://test/../canary",
      "//canary",
    );
    for (const target of targets) {
      const response = await client.request(get(target));
      const { status, text } = response;
      assert(status === 404 || status === 400, `${target}: ${status}`);
      assertEquals(text.includes("canary"), false, target);
      // What is no target at all is refused before it is a request.
      if (response.field("connection") === "close") client = await reconnect();
    }
  },
);

testBackends("reading is a matter of permission", async ({ backend }) => {
  using site = new Site();
  site.put("a.txt", "hello");
  site.put("a.txt.br", "coded");
  site.put("secret/b.txt", "secret");
  const body = `
    const { serveDir, serveFile } = await import(${JSON.stringify(FILES)});
    const www = ${JSON.stringify(site.www)};
    const ask = (path, options) => new Request("http://test" + path, options);
    const tries = [
      () => serveDir(ask("/a.txt"), www),
      () => serveFile(ask("/"), www + "/a.txt"),
      () => serveDir(ask("/secret/b.txt"), www),
      () => serveFile(ask("/"), www + "/secret/b.txt"),
    ];
    const coded = ask("/a.txt", { headers: { "accept-encoding": "br" } });
    tries.push(() => serveDir(coded, www, { precompressed: true }));
    for (const fn of tries) {
      try {
        const response = fn();
        console.log(response.status);
        await response.body?.cancel();
      } catch (error) {
        console.log(error.name);
      }
    }`;
  const outcomes = async (...flags: string[]): Promise<string> => {
    const result = await runChild(body, {
      backend,
      flags: ["--allow-ffi", ...flags],
    });
    assertEquals([result.code, result.err], [0, ""]);
    return result.out.trim().replaceAll("\n", " ");
  };
  const no = "NotCapable";
  assertEquals(await outcomes(), `${no} ${no} ${no} ${no} ${no}`);
  assertEquals(await outcomes("--allow-read"), "200 200 200 200 200");
  assertEquals(
    await outcomes(`--allow-read=${site.www}`),
    "200 200 200 200 200",
  );
  assertEquals(
    await outcomes(`--allow-read=${site.www}/a.txt`),
    `200 200 ${no} ${no} 200`,
  );
  assertEquals(
    await outcomes("--allow-read", `--deny-read=${site.www}/secret`),
    `200 200 ${no} ${no} 200`,
  );
});

testBackends(
  "a body that is forgotten closes its file",
  async ({ backend }) => {
    using site = new Site();
    site.put("a.txt", "hello");
    const body = `
    const { serveDir } = await import(${JSON.stringify(FILES)});
    const { turn } = await import(${JSON.stringify(TESTING)});
    const www = ${JSON.stringify(site.www)};
    const open = () => [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      try {
        return Deno.readLinkSync("/proc/self/fd/" + name).startsWith(www);
      } catch {
        return false;
      }
    }).length;
    for (let i = 0; i < 100; i++) serveDir(new Request("http://test/a.txt"), www);
    const before = open();
    while (open() > 0) {
      gc();
      await turn();
    }
    console.log(before, open());`;
    const result = await runChild(body, {
      backend,
      flags: ["-A", "--v8-flags=--expose-gc"],
    });
    assertEquals([result.code, result.err, result.out], [0, "", "100 0\n"]);
  },
);

Deno.test("Deno.serve sends the same responses", async () => {
  using site = new Site();
  const bytes = site.fill("big", 300_000);
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: (): void => {} },
    (request) => serveDir(request, site.www),
  );
  const response = await fetch(`http://127.0.0.1:${server.addr.port}/big`, {
    headers: { range: "bytes=10-200009" },
  });
  assertEquals(response.status, 206);
  assertSameBytes(await response.bytes(), bytes.subarray(10, 200_010), "range");
  await server.shutdown();
  assertEquals(site.open(), 0);
});
