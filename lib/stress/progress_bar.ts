// SPDX-License-Identifier: Apache-2.0
// progress_bar.ts - a bar on the terminal that shows how the load goes; used by command.ts.

// @ts-types="./cli_progress.d.ts"
import { SingleBar } from "cli-progress";
import process from "node:process";
import type { StressProgress } from "./options.ts";
import { duration, integer } from "./print.ts";

/** Shows progress until it is stopped; nothing where the error output is no terminal. */
export class ProgressBar {
  readonly #bar: SingleBar;
  readonly #connections: number;
  readonly #hold: number;
  readonly #requests: number;
  // The last time and count, for the rate of now.
  #elapsed = 0;
  #answered = 0;

  constructor(connections: number, hold: number, requests = Infinity) {
    this.#connections = connections;
    this.#hold = hold;
    this.#requests = requests;
    this.#bar = new SingleBar({
      format: "{doing} {bar} {percentage}% {said}",
      stream: process.stderr,
      // What is said fits 80 columns beside the shorter one.
      barsize: process.stderr.columns < 100 ? 8 : 20,
      hideCursor: true,
      clearOnComplete: true,
      // Ctrl+C is the command's.
      gracefulExit: false,
    });
    this.#bar.start(1, 0, { doing: "Connecting", said: "" });
  }

  /** Shows how it goes. */
  show(progress: StressProgress): void {
    const isConnecting = progress.phase === "connecting";
    const done = isConnecting ? progress.open / this.#connections : Math.max(
      progress.elapsed / this.#hold,
      progress.answered / this.#requests,
    );
    this.#bar.update(Math.min(done, 1), {
      doing: { connecting: "Connecting", load: "Load", closing: "Closing" }[
        progress.phase
      ],
      said: this.#said(progress),
    });
  }

  /** Takes it off the terminal. */
  stop(): void {
    this.#bar.stop();
  }

  #said({ open, answered, errors, elapsed, p50, p99 }: StressProgress): string {
    const seconds = (elapsed - this.#elapsed) / 1000;
    const rate = seconds > 0 ? (answered - this.#answered) / seconds : 0;
    this.#elapsed = elapsed;
    this.#answered = answered;
    return [
      `${integer(open)} open`,
      `${integer(Math.max(rate, 0))}/s`,
      `${integer(errors)} errors`,
      `p50 ${duration(p50)}`,
      `p99 ${duration(p99)}`,
    ].join(" · ");
  }
}
