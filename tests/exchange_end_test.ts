// SPDX-License-Identifier: Apache-2.0
// exchange_end_test.ts - how exchanges end where features meet: upgrades, limits, files, errors of every kind.

import { assertEquals } from "@std/assert";
import { get, RawClient } from "./raw_client.ts";
import { testBackends, withoutErrors } from "./testing.ts";

// --- handlers

testBackends("a handler that throws null gets its 500", async (t) => {
  const server = t.serve((request) => {
    // deno-lint-ignore no-throw-literal
    if (request.url.endsWith("/throws")) throw null;
    return Promise.reject(null);
  });
  const client = t.using(await RawClient.connect(server));
  const logged = await withoutErrors(async () => {
    for (const path of ["/throws", "/rejects"]) {
      assertEquals((await client.request(get(path))).status, 500, path);
    }
  });
  assertEquals(logged, [[null], [null]]);
});
