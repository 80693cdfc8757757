/* What the hot-path drivers share. Each does one job many times inside hot_measure(), the only function whose
 * instructions callgrind counts (--toggle-collect=hot_measure). */
#ifndef PROFEFE_HOT_H
#define PROFEFE_HOT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOT_REPEATS = 10, /* known to the script `instructions`, which divides by it */
    HOT_FILE_MAX = 16 * 1024 * 1024,
};

struct hot_file {
    char *bytes;
    size_t len;
};

_Noreturn static inline void hot_fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* The file that is the only argument. */
static inline struct hot_file hot_read_file(int argc, char **argv)
{
    if (argc != 2)
        hot_fail("usage", "one argument, the file");
    FILE *file = fopen(argv[1], "rb");
    char *bytes = malloc(HOT_FILE_MAX);
    if (file == NULL || bytes == NULL)
        hot_fail(argv[1], "cannot read it");
    size_t len = fread(bytes, 1, HOT_FILE_MAX, file);
    if (len == 0 || len == HOT_FILE_MAX || ferror(file))
        hot_fail(argv[1], "expected 1 byte to 16 MiB");
    fclose(file);
    return (struct hot_file){bytes, len};
}

/* Not inlined and not static: found by its name. */
void hot_measure(void (*job)(void *ctx), void *ctx);

__attribute__((noinline)) void hot_measure(void (*job)(void *ctx), void *ctx)
{
    for (int i = 0; i < HOT_REPEATS; i++)
        job(ctx);
}

/* Once before, so that lazy binding and the allocator's first steps are not counted. */
static inline void hot_run(void (*job)(void *ctx), void *ctx)
{
    job(ctx);
    hot_measure(job, ctx);
}

#endif
