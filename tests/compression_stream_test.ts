// SPDX-License-Identifier: Apache-2.0
// Tests of lib/compression_stream.ts: bodies that are compressed piece by
// piece, whoever is slow, leaves or fails.

import {
  assert,
  assertEquals,
  assertIsError,
  assertRejects,
} from "@std/assert";
import {
  brotliDecompressSync,
  createBrotliDecompress,
  createGunzip,
  gunzipSync,
} from "node:zlib";
import {
  CompressedSource,
  PIECE_BYTES,
  zlibSettings,
} from "../lib/compression_stream.ts";
import { sse } from "../lib/sse.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  deadline,
  fromLatin1,
  pattern,
  settled,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";

type Coding = "br" | "gzip";

const CODINGS = ["br", "gzip"] as const;
const SETTINGS = zlibSettings(4, 6);
const TYPE = { "content-type": "text/plain" };
const MIB = 1 << 20;
const UTF8 = new TextEncoder();

function decode(coding: Coding, bytes: Uint8Array): Uint8Array {
  return coding === "br" ? brotliDecompressSync(bytes) : gunzipSync(bytes);
}

/** Bytes that cannot be compressed. */
function noise(length: number = PIECE_BYTES): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += PIECE_BYTES) {
    crypto.getRandomValues(bytes.subarray(at, at + PIECE_BYTES));
  }
  return bytes;
}

/** A client of a server that answers with `respond`, compressed; its request is sent. */
async function ask(
  t: Context,
  coding: Coding,
  respond: () => Response | Promise<Response>,
): Promise<RawClient> {
  const server = t.serve(respond, { compress: { types: () => true } });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/", `Accept-Encoding: ${coding}\r\n`));
  return client;
}

/** Decodes a coded body from the chunks of a response, as they come. */
class Decoder implements Disposable {
  readonly #client: RawClient;
  readonly #decoder;
  #text = "";

  constructor(client: RawClient, coding: Coding) {
    this.#client = client;
    this.#decoder = coding === "br" ? createBrotliDecompress() : createGunzip();
    this.#decoder.on("data", (bytes: Uint8Array) => {
      this.#text += fromLatin1(bytes);
    });
  }

  /** Reads until this is all that has come. */
  async until(text: string): Promise<void> {
    while (this.#text !== text) {
      assert(text.startsWith(this.#text), `${this.#text} instead of ${text}`);
      const size = parseInt(fromLatin1(await this.#client.through("\r\n")), 16);
      assert(size > 0, `Ended after ${this.#text}`);
      const chunk = await this.#client.exactly(size + 2);
      await new Promise((resolve) =>
        this.#decoder.write(chunk.subarray(0, size), resolve)
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  [Symbol.dispose](): void {
    this.#decoder.destroy();
  }
}

for (const coding of CODINGS) {
  testBackends(`a long body arrives whole, as ${coding}`, async (t) => {
    const bytes = pattern(5 * MIB + 7);
    const server = t.serve((request) => {
      const body = request.url.endsWith("stream")
        ? new Blob([bytes]).stream()
        : bytes.slice();
      return new Response(body, { headers: TYPE });
    }, { compress: true });
    const client = t.using(await RawClient.connect(server));
    const fields = `Accept-Encoding: ${coding}\r\n`;
    // Pipelined: each answer comes after the one before it.
    await client.write(get("/bytes", fields) + get("/stream", fields));
    for (const what of ["bytes", "stream"]) {
      const response = await client.response();
      assertEquals(response.field("content-encoding"), coding);
      assertEquals(response.field("content-length"), null);
      assertSameBytes(decode(coding, response.body), bytes, what);
    }
  });

  testBackends(`a long text arrives whole, as ${coding}`, async (t) => {
    const text = "Grüße, 世界. ".repeat(50_000);
    const client = await ask(t, coding, () => new Response(text));
    const { body } = await client.response();
    assert(body.length < text.length / 100, `${body.length} bytes`);
    assertEquals(new TextDecoder().decode(decode(coding, body)), text);
  });

  testBackends(
    `each chunk of a live stream arrives, as ${coding}`,
    async (t) => {
      let live: ReadableStreamDefaultController | undefined;
      const client = await ask(t, coding, () => {
        const start = (c: ReadableStreamDefaultController): void => {
          live = c;
          c.enqueue(UTF8.encode("one,"));
        };
        return new Response(new ReadableStream({ start }), { headers: TYPE });
      });
      await client.through("\r\n\r\n");
      using decoder = new Decoder(client, coding);
      let text = "one,";
      await decoder.until(text);
      for (const word of ["two,", "three,", "four,"]) {
        live!.enqueue(UTF8.encode(word));
        text += word;
        await decoder.until(text);
      }
      live!.close();
      await client.through("\r\n0\r\n\r\n");
    },
  );

  testBackends(`each server-sent event arrives, as ${coding}`, async (t) => {
    const { promise: left, resolve } = Promise.withResolvers<void>();
    const server = t.serve((request) =>
      sse(request, async (stream) => {
        await stream.send({ data: "first" });
        await stream.closed;
        resolve();
      }), { compress: { types: (type) => type === "text/event-stream" } });
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/", `Accept-Encoding: ${coding}\r\n`));
    await client.through("\r\n\r\n");
    using decoder = new Decoder(client, coding);
    await decoder.until("data:first\n\n");
    client.close();
    await deadline(left, "the producer is told");
  });

  Deno.test(`chunks that are there are not flushed one by one, as ${coding}`, async () => {
    const words = Array.from({ length: 5000 }, (_, i) => `<li>${i % 100}</li>`);
    const size = async (chunks: string[]): Promise<number> => {
      const body = ReadableStream.from(chunks.map((c) => UTF8.encode(c)));
      const source = new CompressedSource(body, coding, SETTINGS, null);
      const coded = await new Response(new ReadableStream(source)).bytes();
      assertEquals(fromLatin1(decode(coding, coded)), words.join(""));
      return coded.length;
    };
    const [many, one] = [await size(words), await size([words.join("")])];
    assert(many < 1.5 * one, `${many} bytes instead of ${one}`);
  });

  Deno.test(`a flush forgets nothing, as ${coding}`, async () => {
    const chunk = noise(1000);
    let chunks = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller): Promise<void> {
        // Never there when it is asked for.
        await turn();
        if (chunks++ < 20) controller.enqueue(chunk);
        else controller.close();
      },
    }, { highWaterMark: 0 });
    const source = new CompressedSource(body, coding, SETTINGS, null);
    const coded = await new Response(new ReadableStream(source)).bytes();
    assertEquals(decode(coding, coded).length, 20_000);
    assert(coded.length < 2000, `${coded.length} bytes`);
  });

  Deno.test(`chunks may be empty, as ${coding}`, async () => {
    const empty = new Uint8Array(0);
    const text = UTF8.encode("text");
    for (const chunks of [[], [empty], [empty, text, empty, empty, text]]) {
      const source = new CompressedSource(
        ReadableStream.from(chunks),
        coding,
        SETTINGS,
        null,
      );
      const coded = await new Response(new ReadableStream(source)).bytes();
      assertSameBytes(decode(coding, coded), concat(chunks), "the body");
    }
  });

  testBackends(
    `others are answered while a long body is compressed, as ${coding}`,
    async (t) => {
      let completed = false;
      const server = t.serve((request, info) => {
        if (request.url.endsWith("short")) return new Response(`${completed}`);
        info.completed.then(() => completed = true);
        return new Response(new Uint8Array(128 * MIB), { headers: TYPE });
      }, { compress: true });
      const long = t.using(await RawClient.connect(server));
      const short = t.using(await RawClient.connect(server));
      await long.write(get("/long", `Accept-Encoding: ${coding}\r\n`));
      await long.through("\r\n\r\n");
      assertEquals((await short.request(get("/short"))).text, "false");
      await long.through("\r\n0\r\n\r\n");
      assertEquals((await short.request(get("/short"))).text, "true");
    },
  );

  Deno.test(`no more is read than is asked for, as ${coding}`, async () => {
    let pulls = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller): void {
        pulls++;
        controller.enqueue(noise());
      },
    }, { highWaterMark: 0 });
    const source = new CompressedSource(body, coding, SETTINGS, null);
    const reader = new ReadableStream(source, { highWaterMark: 0 }).getReader();
    assertEquals(pulls, 0);
    // Brotli keeps some pieces back before it gives the first.
    for (let reads = 1; reads <= 20; reads++) {
      await reader.read();
      assert(pulls <= 2 * reads + 16, `${pulls} pulls for ${reads} reads`);
    }
    await reader.cancel();
  });

  Deno.test(`a long body is compressed as it is read, as ${coding}`, async () => {
    // Nothing that repeats: each piece of the output needs input of its size.
    const source = new CompressedSource(
      noise(64 * MIB),
      coding,
      SETTINGS,
      64 * MIB,
    );
    const stream = new ReadableStream(source, { highWaterMark: 0 });
    const reader = stream.getReader();
    const { value } = await reader.read();
    assert(value!.length > 0 && value!.length < MIB, `${value!.length} bytes`);
    await reader.cancel();
  });

  testBackends(
    `a peer that leaves cancels the source, as ${coding}`,
    async (t) => {
      const { promise, resolve } = Promise.withResolvers<unknown>();
      const client = await ask(t, coding, () => {
        const start = (c: ReadableStreamDefaultController): void =>
          c.enqueue(UTF8.encode("one,"));
        const stream = new ReadableStream({ start, cancel: resolve });
        return new Response(stream, { headers: TYPE });
      });
      await client.through("\r\n\r\n");
      client.close();
      const reason = await deadline(promise, "the source is cancelled");
      assertIsError(reason, DOMException, "The peer has disconnected");
    },
  );

  testBackends(
    `a source without end to a peer that leaves, as ${coding}`,
    async (t) => {
      const { promise, resolve } = Promise.withResolvers<unknown>();
      const zeros = new Uint8Array(MIB);
      const client = await ask(t, coding, () => {
        // Compressed to nearly nothing: the peer's window never fills.
        const pull = (c: ReadableStreamDefaultController): void =>
          c.enqueue(zeros);
        const stream = new ReadableStream({ pull, cancel: resolve });
        return new Response(stream, { headers: TYPE });
      });
      await client.through("\r\n\r\n");
      client.close();
      await deadline(promise, "the source is cancelled");
    },
  );

  testBackends(
    `a peer that does not read stops the source, as ${coding}`,
    async (t) => {
      const all = 32 * MIB;
      let pulled = 0;
      const server = t.serve(() => {
        const pull = (c: ReadableStreamDefaultController): void => {
          pulled += PIECE_BYTES;
          c.enqueue(noise());
          if (pulled === all) c.close();
        };
        return new Response(new ReadableStream({ pull }), { headers: TYPE });
      }, { compress: true, highWatermark: 65536, lowWatermark: 16384 });
      const client = t.using(await RawClient.connect(server));
      await client.write(get("/", `Accept-Encoding: ${coding}\r\n`));
      await until(() => pulled > 0, "the first piece");
      // What the sockets between them have room for, and a little more.
      const before = await settled(() => pulled);
      assert(before < all / 2, `${before} bytes pulled`);
      const { body } = await client.response();
      assertEquals(decode(coding, body).length, all);
    },
  );

  testBackends(
    `a source that fails cuts the response, as ${coding}`,
    async (t) => {
      const logged = await withoutErrors(async () => {
        const client = await ask(t, coding, () => {
          const chunks = [UTF8.encode("one,"), null];
          const pull = (c: ReadableStreamDefaultController): void => {
            const chunk = chunks.shift();
            if (chunk) c.enqueue(chunk);
            else throw new Error("out of chunks");
          };
          const stream = new ReadableStream({ pull });
          return new Response(stream, { headers: TYPE });
        });
        const { text } = await client.ending();
        assert(text.startsWith("HTTP/1.1 200 OK\r\n"), text);
        assert(!text.includes("\r\n0\r\n"), "It ended as if it were whole");
      });
      assertEquals(logged.length, 1);
      assertEquals((logged[0]![1] as Error).message, "out of chunks");
    },
  );

  for (const [length, sent] of [[2000, 1999], [2000, 2001]] as const) {
    testBackends(
      `${sent} bytes announced as ${length} cut the response, as ${coding}`,
      async (t) => {
        const logged = await withoutErrors(async () => {
          const client = await ask(
            t,
            coding,
            () =>
              new Response(new Blob([pattern(sent)]).stream(), {
                headers: { ...TYPE, "content-length": String(length) },
              }),
          );
          const { text } = await client.ending();
          assert(!text.includes("\r\n0\r\n"), "It ended as if it were whole");
        });
        assertEquals(
          (logged[0]![1] as Error).message,
          "Cannot compress the body: it is not as long as its content-length",
        );
      },
    );
  }

  Deno.test(`a chunk that is no Uint8Array fails, as ${coding}`, async () => {
    const body = ReadableStream.from(["text"]) as unknown as ReadableStream;
    const source = new CompressedSource(body, coding, SETTINGS, null);
    await assertRejects(
      () => new Response(new ReadableStream(source)).bytes(),
      TypeError,
      "it is not a Uint8Array",
    );
  });
}
