// SPDX-License-Identifier: Apache-2.0
// Tests of lib/options.ts: defaults, both ends of every range, and what the
// error says.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type EngineOptions, resolveOptions } from "../lib/options.ts";

const MIB = 1 << 20;
const WORD = 0xffffffff;

Deno.test("resolveOptions() has the defaults that the README tells", () => {
  assertEquals(resolveOptions({}), {
    backend: "auto",
    ringEntries: 1024,
    batch: 256,
    spin: 0,
    maxConnections: 65536,
    blockCount: 8192,
    receiveBuffers: 256,
    outboxBytes: MIB,
    maxHeadBytes: 16384,
    maxTargetBytes: 8192,
    maxFields: 100,
    maxQueueBytes: 65 * MIB,
    highWatermark: MIB,
    lowWatermark: MIB / 4,
    maxFragments: 1024,
    headTimeout: 10_000,
    bodyTimeout: 30_000,
    idleTimeout: 65_000,
    stallTimeout: 20_000,
    minBodyRate: 512,
    minSendRate: 512,
    rateGrace: 5000,
    handlerTimeout: 0,
    drainTimeout: 2000,
    lingerTimeout: 2000,
    maxRequests: 100_000,
    maxPipelined: 64,
    maxConnectionsPerAddress: 0,
    maxDrainBytes: 65536,
    maxLingerBytes: 16 * MIB,
    maxBodyBytes: 64 * MIB,
    maxDeflateBytes: 64 * MIB,
    hugePages: "auto",
    prefault: false,
    memoryNode: -1,
  });
});

Deno.test("resolveOptions() has the defaults that its documentation tells", () => {
  const source = Deno.readTextFileSync(
    new URL("../lib/options.ts", import.meta.url),
  );
  const told = Array.from(
    source.matchAll(/@default \{("?-?\w+"?)\}\s+\*\/\s+(\w+)\?:/g),
    ([, value, name]) => [name, value] as const,
  );
  assertEquals(told.length, 33);
  const readme = Deno.readTextFileSync(
    new URL("../README.md", import.meta.url),
  );
  for (const [name, value] of told) {
    const row = new RegExp(`^\\| \`${name}\` +\\| +\`?("?-?\\w+"?)\`? \\|`, "m")
      .exec(readme);
    assertEquals(row?.[1], value, `${name} in the README`);
  }
});

interface Range {
  name: keyof EngineOptions;
  min: number;
  max: number;
  /** What has to go with the ends of the range. */
  with?: EngineOptions;
}

const RANGES: Range[] = [
  { name: "batch", min: 1, max: 65536 },
  { name: "ring", min: 8, max: 32768 },
  { name: "spin", min: 0, max: 1_000_000 },
  { name: "maxConnections", min: 1, max: MIB },
  { name: "maxHeadBytes", min: 256, max: 16384 },
  { name: "maxTargetBytes", min: 1, max: 16384 },
  { name: "maxHeaderFields", min: 1, max: 256 },
  { name: "maxBodyBytes", min: 0, max: Number.MAX_SAFE_INTEGER },
  { name: "headTimeout", min: 0, max: WORD },
  { name: "bodyTimeout", min: 0, max: WORD },
  { name: "idleTimeout", min: 0, max: WORD },
  { name: "stallTimeout", min: 0, max: WORD },
  { name: "minBodyRate", min: 0, max: WORD },
  { name: "minSendRate", min: 0, max: WORD },
  { name: "rateGrace", min: 0, max: WORD },
  { name: "handlerTimeout", min: 0, max: 0x7fffffff },
  { name: "drainTimeout", min: 0, max: WORD },
  { name: "lingerTimeout", min: 0, max: WORD },
  { name: "maxRequests", min: 0, max: WORD },
  { name: "maxPipelined", min: 1, max: 65536 },
  { name: "maxConnectionsPerAddress", min: 0, max: MIB },
  { name: "maxDrainBytes", min: 0, max: WORD },
  { name: "maxLingerBytes", min: 0, max: WORD },
  {
    name: "highWatermark",
    min: 1,
    max: 1 << 30,
    with: { lowWatermark: 0, maxQueueBytes: 1 << 30 },
  },
  {
    name: "lowWatermark",
    min: 0,
    max: 1 << 30,
    with: { highWatermark: 1 << 30, maxQueueBytes: 1 << 30 },
  },
  {
    name: "maxQueueBytes",
    min: 1,
    max: 1 << 30,
    with: { lowWatermark: 0, highWatermark: 1 },
  },
  { name: "bufferBytes", min: 8 * MIB, max: 65535 * 16384 },
  { name: "maxDeflateBytes", min: 0, max: Number.MAX_SAFE_INTEGER },
  { name: "memoryNode", min: -1, max: 1023 },
];

for (const { name, min, max, with: more } of RANGES) {
  Deno.test(`resolveOptions() takes ${name} from ${min} to ${max}`, () => {
    for (const value of [min, max]) {
      resolveOptions({ ...more, [name]: value });
    }
    for (const value of [min - 1, max + 1]) {
      if (!Number.isSafeInteger(value)) continue;
      const error = assertThrows(
        () => resolveOptions({ ...more, [name]: value }),
        RangeError,
      );
      assert(error.message.startsWith("Cannot serve: "), error.message);
      assert(error.message.includes(`"${name}"`), error.message);
      assert(error.message.includes(String(value)), error.message);
    }
  });

  Deno.test(`resolveOptions() takes integers alone for ${name}`, () => {
    const bad = ["1", 1.5, NaN, Infinity, null, {}, [], true, 8n, Symbol("s")];
    for (const value of bad) {
      const error = assertThrows(
        () => resolveOptions({ [name]: value } as never),
        TypeError,
      );
      assertEquals(
        error.message,
        `Cannot serve: "${name}" must be an integer, is ${Deno.inspect(value)}`,
      );
    }
    assertEquals(resolveOptions({ [name]: undefined }), resolveOptions({}));
  });
}

Deno.test("resolveOptions() takes powers of two for ring", () => {
  for (let ring = 8; ring <= 32768; ring *= 2) {
    assertEquals(resolveOptions({ ring }).ringEntries, ring);
  }
  for (const ring of [9, 12, 1000, 1023, 1025, 32767]) {
    assertThrows(() => resolveOptions({ ring }), RangeError, "a power of two");
  }
});

Deno.test("resolveOptions() wants watermarks and queue to ascend", () => {
  const take = (low: number, high: number, queue: number): unknown =>
    resolveOptions({
      lowWatermark: low,
      highWatermark: high,
      maxQueueBytes: queue,
    });
  take(5, 5, 5);
  take(0, 1, 1);
  for (const [low, high, queue] of [[6, 5, 7], [1, 5, 4], [3, 2, 1]] as const) {
    assertThrows(() => take(low, high, queue), RangeError, "must ascend");
  }
  // Also against what was not said.
  assertThrows(() => resolveOptions({ maxQueueBytes: 1000 }), RangeError);
  assertThrows(() => resolveOptions({ highWatermark: 1000 }), RangeError);
});

Deno.test("resolveOptions() limits a target to the head", () => {
  assertEquals(resolveOptions({ maxHeadBytes: 300 }).maxTargetBytes, 300);
  assertEquals(
    resolveOptions({ maxHeadBytes: 300, maxTargetBytes: 200 }).maxTargetBytes,
    200,
  );
});

Deno.test("resolveOptions() counts whole blocks", () => {
  const bufferBytes = 8 * MIB;
  assertEquals(resolveOptions({ bufferBytes }).blockCount, 512);
  assertEquals(
    resolveOptions({ bufferBytes: bufferBytes + 16383 }).blockCount,
    512,
  );
  assertEquals(
    resolveOptions({ bufferBytes: bufferBytes + 16384 }).blockCount,
    513,
  );
});

Deno.test("resolveOptions() leaves slack between our cap and that of C", () => {
  const maxQueueBytes = 1 << 30;
  assertEquals(
    resolveOptions({ maxQueueBytes }).maxQueueBytes,
    maxQueueBytes + MIB,
  );
});

Deno.test("resolveOptions() knows three backends", () => {
  for (const backend of ["auto", "io_uring", "epoll"] as const) {
    assertEquals(resolveOptions({ backend }).backend, backend);
  }
  for (const backend of ["", "kqueue", "EPOLL", 1, {}, []]) {
    assertThrows(
      () => resolveOptions({ backend: backend as never }),
      TypeError,
      '"backend" must be "auto", "io_uring" or "epoll"',
    );
  }
});

Deno.test("resolveOptions() knows three kinds of huge pages", () => {
  for (const hugePages of ["auto", "transparent", "never"] as const) {
    assertEquals(resolveOptions({ hugePages }).hugePages, hugePages);
  }
  for (const hugePages of ["", "always", true, 1, {}]) {
    assertThrows(
      () => resolveOptions({ hugePages: hugePages as never }),
      TypeError,
      'Cannot serve: "hugePages" must be "auto", "transparent" or "never"',
    );
  }
});

Deno.test("resolveOptions() takes a boolean for prefault", () => {
  assertEquals(resolveOptions({ prefault: true }).prefault, true);
  assertThrows(
    () => resolveOptions({ prefault: 1 as never }),
    TypeError,
    'Cannot serve: "prefault" must be a boolean, is 1',
  );
});
