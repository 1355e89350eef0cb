// SPDX-License-Identifier: Apache-2.0
// Tests of writes that are larger than the high watermark while nothing waits:
// either the kernel has taken them, or `drain` follows.

import { assertEquals } from "@std/assert";
import { listen, type SendStatus } from "../mod.ts";
import { RawClient } from "./raw_client.ts";
import { deadline, pattern, settled, testBackends, until } from "./testing.ts";
import { BINARY, serveRoute, WsClient } from "./ws_client.ts";

const WATERMARK = 64 * 1024;
// The first is taken at once by most kernels, the last by none.
const SIZES = [WATERMARK, 1024 * 1024, 12 * 1024 * 1024];

testBackends("a large write that is queued is followed by drain", async (t) => {
  for (const size of SIZES) {
    const told: SendStatus[] = [];
    let drains = 0;
    const server = listen({
      hostname: "127.0.0.1",
      port: 0,
      backend: t.backend,
      highWatermark: WATERMARK,
    }, {
      open: (socket) => void told.push(socket.write(pattern(size))),
      drain: () => void drains++,
    });
    using client = await RawClient.connect(server);
    await client.exactly(size);
    await until(() => told.length === 1, "the write");
    const queued = told[0] === "queued" ? 1 : 0;
    await until(() => drains >= queued, "drain");
    assertEquals(await settled(() => drains), queued, `${size} bytes`);
    client.close();
    await deadline(server.close(), "the end");
  }
});

testBackends(
  "a large message that is queued is followed by drain",
  async (t) => {
    for (const size of SIZES) {
      const told: SendStatus[] = [];
      let drains = 0;
      const server = serveRoute(t, {
        open: (socket) => void told.push(socket.send(pattern(size))),
        drain: () => void drains++,
      }, { highWatermark: WATERMARK });
      using client = await WsClient.open(server);
      const frame = await client.frame();
      assertEquals([frame.opcode, frame.payload.length], [BINARY, size]);
      const queued = told[0] === "queued" ? 1 : 0;
      await until(() => drains >= queued, "drain");
      assertEquals(await settled(() => drains), queued, `${size} bytes`);
    }
  },
);
