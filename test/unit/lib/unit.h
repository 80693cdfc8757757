/* What unit tests of plain functions share: cmocka with the headers it wants, spans of literals, and checks that name
 * the row of the table that failed.
 */
#ifndef PROFEFE_TEST_UNIT_H
#define PROFEFE_TEST_UNIT_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* argv and environ are not const in C, though nobody writes to them here. */
static inline char *const *words_of(const char *const *words)
{
    return (char *const *)words;
}

static inline void expect_text(const char *row, const char *expected, const char *got)
{
    if (strcmp(expected, got) != 0)
        fail_msg("%s:\n  expected %s\n  got      %s", row, expected, got);
}

static inline void expect_contains(const char *row, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s:\n  expected it to hold  %s\n  got                  %s", row, part, text);
}

static inline void expect_number(const char *row, long long expected, long long got)
{
    if (expected != got)
        fail_msg("%s: expected %lld, got %lld", row, expected, got);
}

/* A failure with these words somewhere in its message. */
static inline void expect_failure(const char *row, int expected_rc, const char *words, int rc, const struct err *err)
{
    expect_number(row, expected_rc, rc);
    expect_number(row, -expected_rc, err->code);
    expect_contains(row, err->text, words);
}

/* An err that must still be so after a success. */
static const struct err err_untouched = {.code = 4711, .text = "untouched"};

static inline void expect_success(const char *row, int rc, const struct err *err)
{
    if (rc != 0)
        fail_msg("%s: expected success, got %d: %s", row, rc, err->text);
    if (err->code != err_untouched.code || strcmp(err->text, err_untouched.text) != 0)
        fail_msg("%s: a success wrote to err: %s", row, err->text);
}

#endif
