// SPDX-License-Identifier: Apache-2.0
// soak_child.ts - starts the server of a soak in a process of its own, asks it for samples, and ends it; used by
// soak_run.ts and websocket_attack_test.ts.

import type { BackendName, ShutdownReport } from "../mod.ts";
import { get, RawClient } from "./raw_client.ts";
import type { Sample } from "./soak_server.ts";
import { deadline } from "./testing.ts";

/** How the process ended. */
export interface Ending {
  code: number;
  report: ShutdownReport;
  /** All that it printed to its standard error. */
  errors: string;
}

/** The process of a server. */
export class SoakChild {
  readonly addr: Deno.NetAddr;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Promise<string>;

  private constructor(
    child: Deno.ChildProcess,
    lines: AsyncIterator<string>,
    errors: Promise<string>,
    port: number,
  ) {
    this.#child = child;
    this.#lines = lines;
    this.#errors = errors;
    this.addr = { transport: "tcp", hostname: "127.0.0.1", port };
  }

  static async start(
    backend: BackendName,
    patience: number,
    program: string = "soak_server.ts",
  ): Promise<SoakChild> {
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
        new URL(program, import.meta.url).pathname,
        backend,
        String(patience),
      ],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const errors = child.stderr.text();
    const lines = linesOf(child.stdout);
    const first = await deadline(lines.next(), "the server's first line");
    if (first.done) throw new Error(`The server ended: ${await errors}`);
    return new SoakChild(child, lines, errors, JSON.parse(first.value).port);
  }

  /** What the process holds now. */
  async sample(): Promise<Sample> {
    return JSON.parse(await this.ask("/sample"));
  }

  /** The text of an answer. */
  async ask(target: string): Promise<string> {
    using client = await RawClient.connect(this);
    const request = get(target, "Connection: close\r\n");
    return (await client.request(request)).text;
  }

  /** Has the server shut down and the process end. */
  async end(): Promise<Ending> {
    await this.#child.stdin.close();
    const last = await deadline(this.#lines.next(), "the shutdown");
    const { code } = await deadline(this.#child.status, "the end");
    const errors = await this.#errors;
    if (last.done) {
      throw new Error(`The server ended without a report: ${errors}`);
    }
    await this.#lines.next();
    return { code, errors, report: JSON.parse(last.value).report };
  }

  /** Ends the process whatever it does, and returns what it had printed to its standard error. */
  async kill(): Promise<string> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child.stdin.close().catch(() => {});
    await this.#child.status;
    while (!(await this.#lines.next()).done);
    return await this.#errors;
  }
}

/** The lines of a stream of text. */
export async function* linesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string, void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
