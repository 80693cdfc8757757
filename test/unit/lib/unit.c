/* sees: base */
#include "unit.h"

#include <ftw.h>

char *const *words_of(const char *const *words)
{
    return (char *const *)words;
}

void expect_text(const char *row, const char *expected, const char *got)
{
    if (strcmp(expected, got) != 0)
        fail_msg("%s:\n  expected %s\n  got      %s", row, expected, got);
}

void expect_contains(const char *row, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s:\n  expected it to hold  %s\n  got                  %s", row, part, text);
}

void expect_number(const char *row, long long expected, long long got)
{
    if (expected != got)
        fail_msg("%s: expected %lld, got %lld", row, expected, got);
}

void expect_failure(const char *row, int expected_rc, const char *words, int rc, const struct err *err)
{
    expect_number(row, expected_rc, rc);
    expect_number(row, -expected_rc, err->code);
    expect_contains(row, err->text, words);
}

void expect_success(const char *row, int rc, const struct err *err)
{
    if (rc != 0)
        fail_msg("%s: expected success, got %d: %s", row, rc, err->text);
    if (err->code != err_untouched.code || strcmp(err->text, err_untouched.text) != 0)
        fail_msg("%s: a success wrote to err: %s", row, err->text);
}

static int delete_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

int unit_delete(const char *path)
{
    return nftw(path, delete_one, 8, FTW_DEPTH | FTW_PHYS);
}
