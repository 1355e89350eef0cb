// SPDX-License-Identifier: Apache-2.0
// globals.ts - has the classes that fetch handlers use be plain properties of the global object; imported by
// http_server.ts.
//
// Deno loads them when they are first wanted and leaves a getter in their place, which is called each time: for a
// small answer that is a tenth of all its work. The standard (Web IDL section 3.7.1) says that they are data
// properties, writable and configurable; those V8 takes for constants.

const LAZY = ["Headers", "ReadableStream", "Request", "Response"];

for (const name of LAZY) {
  const property = Object.getOwnPropertyDescriptor(globalThis, name);
  if (property?.get === undefined) continue;
  // False where the application has frozen them: then they stay what they are.
  Reflect.defineProperty(globalThis, name, {
    value: Reflect.get(globalThis, name),
    writable: true,
    enumerable: false,
    configurable: true,
  });
}
