// SPDX-License-Identifier: Apache-2.0
// Tests of large bodies: whose memory they are, and that many connections get theirs in the same turns.

import { assertEquals } from "@std/assert";
import { get, RawClient } from "./raw_client.ts";
import { assertSameBytes, pattern, testBackends } from "./testing.ts";

testBackends(
  "a response leaves the bytes that it was made of, and its clones, as they are",
  async (t) => {
    const bytes = pattern(1_000_000);
    const kept = new Response(bytes);
    const server = t.serve((request) => {
      switch (new URL(request.url).pathname) {
        case "/kept":
          return kept.clone();
        case "/first": {
          const response = new Response(bytes);
          clones.push(response.clone());
          return response;
        }
        default:
          return new Response(bytes);
      }
    });
    const clones: Response[] = [];
    const client = t.using(await RawClient.connect(server));
    for (const path of ["/", "/kept", "/first", "/", "/kept", "/first"]) {
      const response = await client.request(get(path));
      assertSameBytes(response.body, pattern(1_000_000), path);
    }
    assertSameBytes(await kept.bytes(), bytes, "kept");
    for (const clone of clones) {
      assertSameBytes(await clone.bytes(), bytes, "clone");
    }
  },
);

testBackends(
  "bodies larger than a turn come whole, and to their own requests",
  async (t) => {
    const server = t.serve(async (request) =>
      new Response(await request.bytes())
    );
    const { port } = server.addr;
    const lengths = Array.from({ length: 8 }, (_, i) => 900_001 + i * 300_007);
    await Promise.all(lengths.map(async (length) => {
      const body = pattern(length);
      for (let round = 0; round < 2; round++) {
        const response = await fetch(`http://127.0.0.1:${port}/`, {
          method: "POST",
          body,
        });
        assertEquals(response.status, 200);
        assertSameBytes(await response.bytes(), body, `${length}`);
      }
    }));
  },
);
