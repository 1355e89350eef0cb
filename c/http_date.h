// SPDX-License-Identifier: Apache-2.0
// http_date.h - the Date field of responses (RFC 9110 section 5.6.7); called by conn_route.c.
#ifndef MR_HTTP_DATE_H
#define MR_HTTP_DATE_H

#include <time.h>

#define HTTP_DATE_BYTES 29

// Writes a time as `Sun, 06 Nov 1994 08:49:37 GMT`.
void http_date(time_t seconds, char out[HTTP_DATE_BYTES]);

#endif
