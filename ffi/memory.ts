// SPDX-License-Identifier: Apache-2.0
// memory.ts - of what a reactor's memory is to be, and what has become of that; used by arena.ts, crew.ts and
// reactor.ts.

import { errnoName } from "./errno.ts";
import * as layout from "./layout.ts";

/** Which huge pages are asked for. */
export type HugePages = "auto" | "transparent" | "never";

/** The memory that a server has for its connections, as it was looked at. */
export interface MemoryStatistics {
  /**
   * What it is made of: pages of 2 MiB from the pool (`"hugetlb"`), such pages that the kernel puts together
   * (`"transparent"`), or pages of 4 KiB (`"small"`).
   */
  pages: "hugetlb" | "transparent" | "small";
  /** Bytes that are mapped; those that were never used cost nothing. */
  bytes: number;
  /** Bytes that are in memory; null where the kernel does not tell, before Linux 6.7. */
  residentBytes: number | null;
  /** Those of them that are in pages of 2 MiB; null likewise. */
  hugeBytes: number | null;
  /** The NUMA node that was asked for; -1 for any. */
  memoryNode: number;
  /** Why it could not be asked for, as `"EPERM"`; null when it could, or was not. */
  memoryNodeError: string | null;
  /** How many of some 100 pages lie on which node; null where the system forbids the question. */
  nodes: Record<number, number> | null;
}

const BEST: Record<HugePages, number> = {
  auto: layout.PAGES_HUGETLB,
  transparent: layout.PAGES_TRANSPARENT,
  never: layout.PAGES_SMALL,
};

const KINDS = ["hugetlb", "transparent", "small"] as const;

/** The best pages to try, an mr_pages. */
export function bestPages(wish: HugePages): number {
  return BEST[wish];
}

/** A struct mr_memory. */
export function readMemory(view: DataView): MemoryStatistics {
  const word = (offset: number): number => view.getUint32(offset, true);
  const long = (offset: number): number =>
    Number(view.getBigUint64(offset, true));
  const counted = word(layout.MEMORY_COUNTED) !== 0;
  return {
    pages: KINDS[word(layout.MEMORY_PAGES)]!,
    bytes: long(layout.MEMORY_MAPPED_BYTES),
    residentBytes: counted ? long(layout.MEMORY_RESIDENT_BYTES) : null,
    hugeBytes: counted ? long(layout.MEMORY_HUGE_BYTES) : null,
    memoryNode: word(layout.MEMORY_NODE) - 1,
    memoryNodeError: errnoName(word(layout.MEMORY_BIND_ERROR)) || null,
    nodes: readNodes(view),
  };
}

// The first page is always there: that none is means that nobody knows.
function readNodes(view: DataView): Record<number, number> | null {
  const nodes: Record<number, number> = {};
  for (let i = 0; i < layout.MEMORY_SAMPLE; i++) {
    const node = view.getUint16(layout.MEMORY_NODES + 2 * i, true);
    if (node !== layout.NO_NODE) nodes[node] = (nodes[node] ?? 0) + 1;
  }
  return Object.keys(nodes).length === 0 ? null : nodes;
}
