// SPDX-License-Identifier: Apache-2.0
// differential_cases.ts - the whole table of the differential test: the rows by
// topic, and what is known to differ in some of them.

import { BODY_ROWS } from "./differential_bodies.ts";
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

/** What Millrace is meant to do otherwise. */
export const INTENDED: readonly Known[] = [
  ...INTENDED_REQUESTS,
  ...INTENDED_RESPONSES,
];

/** All rows; those that differ say why. */
export const ROWS: readonly Row[] = ALL.map((row) => {
  const differs = find(row.name);
  return differs === null ? row : { ...row, differs };
});

function find(name: string): NonNullable<Row["differs"]> | null {
  for (const { why, differences } of INTENDED) {
    for (const { rows, deno, millrace } of differences) {
      if (rows.includes(name)) return { why, deno, millrace };
    }
  }
  return null;
}
