// SPDX-License-Identifier: Apache-2.0
// Tests of lib/globals.ts: the classes of the platform stay what they are.

import { assert, assertEquals } from "@std/assert";

const CODE = `
const before = [Headers, ReadableStream, Request, Response];
const kinds = () =>
  before.map(({ name }) => {
    const { value, writable, enumerable, configurable } = Object
      .getOwnPropertyDescriptor(globalThis, name);
    return [name, value?.name, writable, enumerable, configurable];
  });
if (Deno.args[0] === "frozen") {
  for (const { name } of before) {
    Object.defineProperty(globalThis, name, { configurable: false });
  }
}
await import(Deno.args[1]);
const after = [Headers, ReadableStream, Request, Response];
const same = before.every((one, at) => one === after[at]);
console.log(JSON.stringify({ same, kinds: kinds() }));
`;

async function imported(how: string): Promise<unknown> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", CODE, how, import.meta.resolve("../lib/globals.ts")],
  }).output();
  const decoder = new TextDecoder();
  assert(code === 0, decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

const NAMES = ["Headers", "ReadableStream", "Request", "Response"];

Deno.test("globals.ts makes data properties of getters", async () => {
  assertEquals(await imported("plain"), {
    same: true,
    kinds: NAMES.map((name) => [name, name, true, false, true]),
  });
});

Deno.test("globals.ts leaves frozen properties as they are", async () => {
  assertEquals(await imported("frozen"), {
    same: true,
    kinds: NAMES.map((name) => [name, null, null, false, false]),
  });
});
