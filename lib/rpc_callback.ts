// SPDX-License-Identifier: Apache-2.0
// rpc_callback.ts - calls what the application has given to the action router, so that it harms nobody; used by
// rpc_app.ts and rpc_client.ts.

/** Calls a function. What it throws, or its promise rejects with, is told. */
export function callSafely(
  callback: () => void | Promise<void>,
  failed: (error: unknown) => void,
): void {
  try {
    const result = callback();
    if (result instanceof Promise) result.catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Who fails to be told of an error is told of on the console. */
export function tellOfOnError(error: unknown): void {
  console.error("Exception in onError of the action router", error);
}
