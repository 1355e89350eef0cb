// SPDX-License-Identifier: Apache-2.0
// http_date.c - the Date field of responses (RFC 9110 section 5.6.7); called by conn_route.c.
#include "http_date.h"

#include <string.h>

static const char DAYS[] = "SunMonTueWedThuFriSat";
static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void two_digits(char *out, int number) {
  out[0] = (char)('0' + number / 10 % 10);
  out[1] = (char)('0' + number % 10);
}

// strftime() would write names in the language of the process.
void http_date(time_t seconds, char out[HTTP_DATE_BYTES]) {
  struct tm parts;
  gmtime_r(&seconds, &parts);
  const int year = parts.tm_year + 1900;
  memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", HTTP_DATE_BYTES);
  memcpy(out, DAYS + (size_t)parts.tm_wday * 3, 3);
  two_digits(out + 5, parts.tm_mday);
  memcpy(out + 8, MONTHS + (size_t)parts.tm_mon * 3, 3);
  two_digits(out + 12, year / 100);
  two_digits(out + 14, year % 100);
  two_digits(out + 17, parts.tm_hour);
  two_digits(out + 20, parts.tm_min);
  two_digits(out + 23, parts.tm_sec);
}
