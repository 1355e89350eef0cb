// SPDX-License-Identifier: Apache-2.0
// paths.ts - places of the benchmark in the file system.
import { fileURLToPath } from "node:url";

/** Absolute path of something named relative to `bench/`. */
export function benchPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
