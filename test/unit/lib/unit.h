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
char *const *words_of(const char *const *words);

/* Each fails the test with the row's name when the two differ. */
void expect_text(const char *row, const char *expected, const char *got);
void expect_contains(const char *row, const char *text, const char *part);
void expect_number(const char *row, long long expected, long long got);

/* A failure with these words somewhere in its message. */
void expect_failure(const char *row, int expected_rc, const char *words, int rc, const struct err *err);

/* An err that must still be so after a success. */
static const struct err err_untouched = {.code = 4711, .text = "untouched"};

/* 0, and an err that is as err_untouched. */
void expect_success(const char *row, int rc, const struct err *err);

/* A folder with all that is in it, or a file. 0, or -1 with errno. */
int unit_delete(const char *path);

#endif
