// SPDX-License-Identifier: Apache-2.0
// cli_progress.d.ts - types of the part of cli-progress that progress_bar.ts uses: the package comes without, and those
// of DefinitelyTyped bring all of Node's along.

/** How a bar looks. */
export interface Options {
  format?: string;
  stream?: unknown;
  barsize?: number;
  hideCursor?: boolean;
  clearOnComplete?: boolean;
  gracefulExit?: boolean;
}

/** One bar. */
export class SingleBar {
  constructor(options: Options);
  start(total: number, value: number, payload: Record<string, string>): void;
  update(value: number, payload: Record<string, string>): void;
  stop(): void;
}
