// SPDX-License-Identifier: Apache-2.0
// file_coding.ts - which of a file's compressed neighbours a client takes (RFC 9110 section 12.5.3); called by
// files.ts.

/** A content coding that neighbours come in. */
export type FileCoding = "br" | "gzip";

/** What a neighbour's name has behind that of its file. */
export const CODING_SUFFIX: Readonly<Record<FileCoding, string>> = {
  br: ".br",
  gzip: ".gz",
};

/** Those of `offered` that the client takes, the ones it likes best first, else in the order of `offered`. */
export function acceptedCodings(
  field: string | null,
  offered: readonly FileCoding[],
): FileCoding[] {
  if (field === null) return [];
  const weights = parseWeights(field);
  const weight = (coding: FileCoding): number =>
    weights.get(coding) ?? weights.get("*") ?? 0;
  return offered.filter((coding) => weight(coding) > 0)
    .toSorted((a, b) => weight(b) - weight(a));
}

function parseWeights(field: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const item of field.toLowerCase().split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) =>
      part.trim()
    );
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    const weight = q === undefined ? 1 : Number(q.slice(2));
    if (name !== "") weights.set(name, Number.isNaN(weight) ? 0 : weight);
  }
  return weights;
}
