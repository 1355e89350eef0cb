// SPDX-License-Identifier: Apache-2.0
// globals.ts - has the classes of a fetch handler be plain properties of the global object; imported by
// http_server.ts.
//
// Deno loads them when they are first used, and leaves a getter in their place that is called each time: on the way
// of a request it costs as much as parsing the head. Assigned, they become what the standard says that they are
// (Web IDL, section 3.7.1): data properties, writable and configurable, which V8 takes for constants.

const LAZY = ["Headers", "ReadableStream", "Request", "Response"];

for (const name of LAZY) {
  const getter = Object.getOwnPropertyDescriptor(globalThis, name)?.get;
  // False, and nothing changed, where an application has frozen them.
  if (getter !== undefined) Reflect.set(globalThis, name, getter());
}
