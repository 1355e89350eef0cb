// SPDX-License-Identifier: Apache-2.0
// workers.ts - serveAll(): one server on many workers; makes a workers_server.ts.

/**
 * One server on many workers: each has a thread, a loop and memory of its own, and all listen on the same address.
 *
 * @example app.ts
 * ```ts
 * export default {
 *   fetch: (request: Request): Response => new Response(request.url),
 * };
 * ```
 *
 * @example main.ts
 * ```ts
 * import { serveAll } from "@millrace/millrace/workers";
 *
 * const server = await serveAll(new URL("./app.ts", import.meta.url), {
 *   port: 8000,
 *   workers: "auto",
 * });
 * Deno.addSignalListener("SIGHUP", () => {
 *   server.reload().catch((error) => console.error("Not reloaded", error));
 * });
 * ```
 *
 * @module
 */

import { logAddress } from "./serve.ts";
import { Supervisor, type WorkersServer } from "./workers_server.ts";
import { type ServeAllOptions, settingsOf } from "./workers_options.ts";

export type { Balance, RegistryStatistics } from "../ffi/mod.ts";
export type { MailStatistics } from "./mail_office.ts";
export type { MessageHandler } from "./worker_mail.ts";
export {
  broadcast,
  currentWorker,
  onMessage,
  publish,
  send,
  type WorkerIdentity,
} from "./worker_messages.ts";
export type { WorkerModule, WorkerRpc } from "./workers_app.ts";
export type {
  ReloadOptions,
  ServeAllOptions,
  WorkerEvent,
  WorkerStatus,
} from "./workers_options.ts";
export type { AffinityPolicy } from "./workers_placement.ts";
export type { WorkersExecutor } from "./workers_executor.ts";
export type { WorkersServer, WorkersStatistics } from "./workers_server.ts";

/**
 * Serves what a module exports by default on many workers, as `deno serve` does on one.
 *
 * @param module The module, which each worker imports.
 * @param options Where to listen, limits, and how many workers.
 * @returns The running server, once all workers serve.
 * @throws {TypeError} When an option is unknown or of the wrong type.
 * @throws {RangeError} When a number is out of range.
 * @throws {Error} What the module throws when it is imported, or `onListen`, or the address is not to be had.
 * @throws {unknown} The reason of the signal, when it aborts before all workers serve.
 */
export async function serveAll(
  module: URL,
  options: ServeAllOptions = {},
): Promise<WorkersServer> {
  if (!(module instanceof URL)) {
    throw new TypeError(
      "Cannot serve with workers: the module must be given as a URL",
    );
  }
  const settings = settingsOf(options);
  const { signal } = settings;
  signal?.throwIfAborted();
  const server = new Supervisor(module, settings);
  const abort = (): void => {
    server.close().catch((error) =>
      console.error("The file of a socket could not be removed", error)
    );
  };
  signal?.addEventListener("abort", abort, { once: true });
  server.finished.then(() => signal?.removeEventListener("abort", abort));
  try {
    await server.start();
    if (settings.onListen !== undefined) settings.onListen(server.addr);
    else logAddress(server.addr, server.protocol);
  } catch (error) {
    await server.close();
    signal?.throwIfAborted();
    throw error;
  }
  return server;
}
