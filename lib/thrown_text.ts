// SPDX-License-Identifier: Apache-2.0
// thrown_text.ts - what is left of an error on its way between threads, which no class of the application's survives;
// used by the executor and by workers.

/** What of an error survives. */
export interface ThrownText {
  name: string;
  message: string;
  stack: string | undefined;
  /** Its property of that name, when it is a number. */
  code: number | undefined;
}

/** What to send of something that was thrown. */
export function textOf(error: unknown): ThrownText {
  if (!(error instanceof Error)) {
    const message = `Something that is no Error was thrown: ${
      Deno.inspect(error)
    }`;
    return { name: "Error", message, stack: undefined, code: undefined };
  }
  const { name, message, stack } = error;
  const { code } = error as { code?: unknown };
  return {
    name,
    message,
    stack,
    code: typeof code === "number" ? code : undefined,
  };
}

// Those that both sides have.
const CLASSES: Readonly<Record<string, new (message: string) => Error>> = {
  ...Deno.errors,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
};

/** An error like the one that was sent. */
export function errorOf({ name, message, stack, code }: ThrownText): Error {
  const Class = Object.hasOwn(CLASSES, name) ? CLASSES[name]! : Error;
  const error = new Class(message);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}
