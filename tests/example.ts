// SPDX-License-Identifier: Apache-2.0
// example.ts - an example as its user starts it: a process of its own, with the
// permissions that its first comment names.

import type { BackendName } from "../mod.ts";
import { deadline } from "./testing.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const READY = "Ctrl+C stops it";

/** A program of examples/ that runs, and what it prints. */
export class Example implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;
  /** All that it has printed so far. */
  output = "";
  port = 0;

  /** Starts a program by its file and its flags. */
  constructor(file: string, ...flags: string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-net",
        "--allow-ffi",
        ...file === "echo.ts" ? ["--allow-read=."] : [],
        `examples/${file}`,
        ...flags,
      ],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** A server on a free port. */
  static async start(
    file: string,
    backend: BackendName,
    ...flags: string[]
  ): Promise<Example> {
    const example = new Example(
      file,
      "--addr",
      "127.0.0.1:0",
      "--backend",
      backend,
      ...flags,
    );
    return await example.listening(READY);
  }

  /** Waits until it has printed where it listens, and then the text. */
  async listening(text: string): Promise<this> {
    await this.printed(text);
    const [, port] = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(this.output) ?? [];
    this.port = Number(port);
    return this;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get addr(): Deno.NetAddr {
    return { transport: "tcp", hostname: "127.0.0.1", port: this.port };
  }

  /** Reads on until the text has been printed. */
  async printed(text: string): Promise<void> {
    while (!this.output.includes(text)) {
      const { done, value } = await deadline(
        this.#lines.read(),
        `the example prints "${text}"`,
      );
      if (done) {
        throw new Error(
          `It ended before "${text}": ${this.output}${await this.#errors}`,
        );
      }
      this.output += value;
    }
  }

  kill(signal: "SIGINT" | "SIGTERM"): void {
    this.#child.kill(signal);
  }

  /** Reads all that is still to be printed. */
  async ended(): Promise<{ code: number; output: string; errors: string }> {
    for (;;) {
      const { done, value } = await deadline(
        this.#lines.read(),
        "the example ends",
      );
      if (done) break;
      this.output += value;
    }
    const { code } = await this.#child.status;
    return { code, output: this.output, errors: await this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.ended();
  }
}
