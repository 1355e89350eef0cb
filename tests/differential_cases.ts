// SPDX-License-Identifier: Apache-2.0
// differential_cases.ts - the whole table of the differential test: the rows by
// topic, and what is known to differ in some of them.

import { BODY_ROWS } from "./differential_bodies.ts";
import { BUGS } from "./differential_bugs.ts";
import { CONNECTION_ROWS } from "./differential_connections.ts";
import { INTENDED_REQUESTS } from "./differential_intended_requests.ts";
import { INTENDED_RESPONSES } from "./differential_intended_responses.ts";
import { MALFORMED_ROWS } from "./differential_malformed.ts";
import { REQUEST_ROWS } from "./differential_requests.ts";
import { RESPONSE_ROWS } from "./differential_responses.ts";
import type { Known, Row } from "./differential_rows.ts";

const ALL: Row[] = [
  ...REQUEST_ROWS,
  ...BODY_ROWS,
  ...RESPONSE_ROWS,
  ...CONNECTION_ROWS,
  ...MALFORMED_ROWS,
];

const INTENDED = [...INTENDED_REQUESTS, ...INTENDED_RESPONSES];

/** Every name for which something is said to differ, as often as it is. */
export const KNOWN_NAMES: readonly string[] = [...INTENDED, ...BUGS]
  .flatMap(({ differences }) => differences.flatMap(({ rows }) => rows));

/** All rows; those that differ say why, or what the fault is. */
export const ROWS: readonly Row[] = ALL.map((row) => {
  const intended = find(INTENDED, row.name);
  if (intended !== null) return { ...row, differs: intended };
  const bug = find(BUGS, row.name);
  return bug === null ? row : { ...row, bug };
});

function find(
  known: readonly Known[],
  name: string,
): NonNullable<Row["bug"]> | null {
  for (const { why, differences } of known) {
    for (const { rows, deno, millrace } of differences) {
      if (rows.includes(name)) return { why, deno, millrace };
    }
  }
  return null;
}
