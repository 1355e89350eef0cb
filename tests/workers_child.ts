// SPDX-License-Identifier: Apache-2.0
// workers_child.ts - starts workers_server.ts in a process of its own, and has it do things; used by the tests that
// count what the process of a server holds.

import type { ReloadOptions, ServeAllOptions } from "../lib/workers.ts";
import type { ShutdownReport } from "../mod.ts";
import type { Address } from "./raw_client.ts";
import { linesOf } from "./soak_child.ts";
import { deadline, sleep } from "./testing.ts";
import type { Event, Held, Order, View } from "./workers_server.ts";
import { APP } from "./workers_testing.ts";

/** A worker that starts may wait for processors that are busy with others. */
const PATIENCE_MS = 30_000;

/** The process of a server on many workers. */
export class WorkersChild implements AsyncDisposable {
  readonly addr: Address;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Promise<string>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  #asked: Promise<unknown> = Promise.resolve();

  private constructor(
    child: Deno.ChildProcess,
    lines: AsyncIterator<string>,
    errors: Promise<string>,
    addr: Address,
  ) {
    this.#child = child;
    this.#lines = lines;
    this.#errors = errors;
    this.#input = child.stdin.getWriter();
    this.addr = addr;
  }

  static async start(
    options: ServeAllOptions,
    module: URL = APP,
  ): Promise<WorkersChild> {
    const where = options.path === undefined
      ? { hostname: "127.0.0.1", port: 0 }
      : {};
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-check",
        "--no-prompt",
        "--v8-flags=--expose-gc",
        "--config",
        new URL("../deno.json", import.meta.url).pathname,
        "-A",
        new URL("./workers_server.ts", import.meta.url).pathname,
        module.href,
        JSON.stringify({ ...where, ...options }),
      ],
      // The allocator would keep an arena for each thread that it has seen at the same time as others.
      env: { NO_COLOR: "1", MALLOC_ARENA_MAX: "2" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const errors = child.stderr.text();
    const lines = linesOf(child.stdout);
    const first = await deadline(lines.next(), "the address", PATIENCE_MS);
    if (first.done) throw new Error(`The server ended: ${await errors}`);
    return new WorkersChild(child, lines, errors, JSON.parse(first.value));
  }

  /** What there is, after a garbage collection when it is to be clean. */
  look(clean = false): Promise<View> {
    return this.#ask({ act: "look", clean });
  }

  reload(options: ReloadOptions = {}): Promise<void> {
    return this.#ask({ act: "reload", options });
  }

  shutdown(): Promise<ShutdownReport> {
    return this.#ask({ act: "shutdown", options: {} });
  }

  /** Has other servers begin and end. */
  cycle(times: number): Promise<Held> {
    return this.#ask({ act: "cycle", times });
  }

  /** Looks until the condition holds. */
  async until(
    condition: (view: View) => boolean,
    what: string,
    clean = false,
  ): Promise<View> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const view = await this.look(clean);
      if (condition(view)) return view;
      if (performance.now() > end) {
        const last = { ...view, events: view.events.slice(-10) };
        throw new Error(`Deadline passed: ${what}\n${Deno.inspect(last)}`);
      }
      await sleep(20);
    }
  }

  /** Has the server shut down and the process end; returns its exit code and what it has printed. */
  async end(): Promise<{ code: number; errors: string }> {
    await this.#input.close();
    const { code } = await deadline(this.#child.status, "the end", PATIENCE_MS);
    const rest = await this.#lines.next();
    if (!rest.done) throw new Error(`The server said more: ${rest.value}`);
    return { code, errors: await this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      return; // it has ended
    }
    await this.#input.abort().catch(() => {});
    await this.#child.status;
    while (!(await this.#lines.next()).done);
    const errors = await this.#errors;
    if (errors !== "") console.error(errors);
  }

  // One at a time.
  #ask<T>(order: Order): Promise<T> {
    const answer = this.#asked.then(() => this.#exchange<T>(order));
    this.#asked = answer.catch(() => {});
    return answer;
  }

  async #exchange<T>(order: Order): Promise<T> {
    const line = new TextEncoder().encode(`${JSON.stringify(order)}\n`);
    await this.#input.write(line);
    const answer = await deadline(
      this.#lines.next(),
      `the answer to ${order.act}`,
      PATIENCE_MS,
    );
    if (answer.done) throw new Error(`The server died: ${await this.#errors}`);
    const { value, error } = JSON.parse(answer.value);
    if (error !== undefined) throw new Error(error);
    return value as T;
  }
}

/** How many events there are of a kind. */
export function countOf(events: readonly Event[], kind: Event["kind"]): number {
  return events.filter((event) => event.kind === kind).length;
}
