// SPDX-License-Identifier: Apache-2.0
// plain_agree.c - see plain_agree.h.
#include "plain_agree.h"

// Status and offset in the terms of plain_http.h.
static int status_of(int32_t result) {
  if (result < 0) return http_violation_status((enum mr_violation) - result);
  return result == 0 ? PLAIN_MORE : PLAIN_OK;
}

static bool same_span(struct plain_span span, uint32_t at, uint32_t length) {
  return span.at == at && span.length == length;
}

bool plain_agrees_head(const uint8_t *bytes, uint32_t size, const struct http_head_limits *limits,
                       int32_t result, const struct http_head *head) {
  static struct plain_head plain;
  const struct plain_limits same = {limits->max_head_bytes, limits->max_target_bytes, limits->max_fields,
                                    limits->max_body_bytes};
  plain_head(bytes, size, &same, &plain);
  if (plain.status != status_of(result)) return false;
  if (result <= 0) return true;
  if (plain.length != (uint32_t)result || plain.field_count != head->field_count) return false;
  // Which hosts are odd is for a URL parser to say, and the plain implementation has none.
  if (plain.flags != (head->flags & ~MR_ODD_HOST)) return false;
  if (plain.content_length != head->content_length) return false;
  if (!same_span(plain.method, head->start, head->method_length)) return false;
  if (!same_span(plain.target, head->target, head->target_length)) return false;
  for (uint32_t i = 0; i < head->field_count; i++) {
    const struct http_field *field = &head->fields[i];
    if (!same_span(plain.names[i], field->name, field->name_length)) return false;
    if (!same_span(plain.values[i], field->value, field->value_length)) return false;
  }
  return true;
}

bool plain_agrees_body(const struct plain_body *plain, int32_t result) {
  return plain->status == status_of(result) && (result <= 0 || plain->consumed == (uint32_t)result);
}
