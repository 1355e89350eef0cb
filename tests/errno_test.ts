// SPDX-License-Identifier: Apache-2.0
// Tests of ffi/errno.ts.

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { constants } from "node:os";
import { errnoError, errnoName, unwrap } from "../ffi/errno.ts";

const { errno } = constants;

Deno.test("errnoName() knows the names of the system", () => {
  assertEquals(errnoName(errno.ECONNRESET), "ECONNRESET");
  assertEquals(errnoName(errno.ETIMEDOUT), "ETIMEDOUT");
  assertEquals(errnoName(1), "EPERM");
});

Deno.test("errnoName() is empty for 0 and a number for the unknown", () => {
  assertEquals(errnoName(0), "");
  assertEquals(errnoName(4095), "errno 4095");
});

const CLASSES: [keyof typeof errno, new (message: string) => Error][] = [
  ["EACCES", Deno.errors.PermissionDenied],
  ["EPERM", Deno.errors.PermissionDenied],
  ["EADDRINUSE", Deno.errors.AddrInUse],
  ["EADDRNOTAVAIL", Deno.errors.AddrNotAvailable],
  ["EBUSY", Deno.errors.Busy],
  ["ECONNREFUSED", Deno.errors.ConnectionRefused],
  ["ECONNRESET", Deno.errors.ConnectionReset],
  ["EHOSTUNREACH", Deno.errors.NetworkUnreachable],
  ["EINVAL", RangeError],
  ["ENETUNREACH", Deno.errors.NetworkUnreachable],
  ["ENOENT", Deno.errors.NotFound],
  ["EPIPE", Deno.errors.BrokenPipe],
  ["ESTALE", Deno.errors.NotConnected],
  ["ETIMEDOUT", Deno.errors.TimedOut],
  ["EAGAIN", Error],
  ["EDQUOT", Error],
  ["EMFILE", Error],
  ["ENOMEM", Error],
  ["ENOBUFS", Error],
  ["ENAMETOOLONG", Error],
];

for (const [name, expected] of CLASSES) {
  Deno.test(`errnoError() makes a ${expected.name} of ${name}`, () => {
    const error = errnoError(errno[name], "do it");
    assertStrictEquals(error.constructor, expected);
    const [, meaning] = /^Cannot do it: (.+) \((\w+)\)$/.exec(error.message)!;
    assert(error.message.endsWith(` (${name})`), error.message);
    assert(meaning !== "the system refused", error.message);
  });
}

Deno.test("errnoError() says what it can of other numbers", () => {
  assertEquals(
    errnoError(errno.EXDEV, "do it").message,
    "Cannot do it: the system refused (EXDEV)",
  );
  assertEquals(
    errnoError(4095, "do it").message,
    "Cannot do it: the system refused (errno 4095)",
  );
});

Deno.test("errnoError() prefers details", () => {
  const error = errnoError(errno.EPERM, "open a ring", "seccomp forbids it");
  assertEquals(error.message, "Cannot open a ring: seccomp forbids it (EPERM)");
  assert(error instanceof Deno.errors.PermissionDenied);
});

Deno.test("unwrap() returns what is not negative, and throws the rest", () => {
  assertEquals(unwrap(0, "do it"), 0);
  assertEquals(unwrap(2 ** 31 - 1, "do it"), 2 ** 31 - 1);
  assertThrows(
    () => unwrap(-errno.EADDRINUSE, "listen"),
    Deno.errors.AddrInUse,
    "Cannot listen: the address is in use (EADDRINUSE)",
  );
});
