#include "ini_file.h"

#include "unit.h"

#include <unistd.h>

char ini_path[] = "/tmp/profefe_test_ini_XXXXXX";

int make_ini(void **state)
{
    (void)state;
    int fd = mkstemp(ini_path);
    return fd < 0 ? -1 : close(fd);
}

int remove_ini(void **state)
{
    (void)state;
    return unlink(ini_path);
}

void write_ini(const char *text)
{
    FILE *f = fopen(ini_path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(0, fclose(f));
}
