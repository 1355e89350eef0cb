// SPDX-License-Identifier: Apache-2.0
// thrown.ts - what the application has thrown, as an Error; used where that ends a connection.

/** The value itself when it is an Error, else one with it as its cause: not everything can be made a string. */
export function thrownError(value: unknown): Error {
  return value instanceof Error
    ? value
    : new Error("Something that is no Error was thrown", { cause: value });
}
