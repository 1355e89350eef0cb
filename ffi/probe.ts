// SPDX-License-Identifier: Apache-2.0
// probe.ts - what the kernel gives to the backend io_uring, one thing after the other; pairs with c/uring_probe.c.

import { errnoName, unwrap } from "./errno.ts";
import { library } from "./library.ts";

const CAPACITY = 1024;

/** What the backend needs, with the name of the errno that it failed with: "" for none, "ECANCELED" for not tried. */
export function probeUring(): { feature: string; error: string }[] {
  const out = new Uint8Array(CAPACITY);
  const length = unwrap(library().mr_probe(out, CAPACITY), "try io_uring out");
  const rows: [string, number][] = JSON.parse(
    new TextDecoder().decode(out.subarray(0, length)),
  );
  return rows.map(([feature, errno]) => ({ feature, error: errnoName(errno) }));
}
