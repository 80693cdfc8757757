/* An INI file for a test program's settings: make_ini and remove_ini are its group's setup and teardown. */
#ifndef PROFEFE_TEST_INI_FILE_H
#define PROFEFE_TEST_INI_FILE_H

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char ini_path[] = "/tmp/profefe_test_ini_XXXXXX";

static inline int make_ini(void **state)
{
    (void)state;
    int fd = mkstemp(ini_path);
    return fd < 0 ? -1 : close(fd);
}

static inline int remove_ini(void **state)
{
    (void)state;
    return unlink(ini_path);
}

static inline void write_ini(const char *text)
{
    FILE *f = fopen(ini_path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(0, fclose(f));
}

#endif
