#include "agent/cgroup.h"

#include "common/base/cleanup.h"
#include "common/base/number.h"
#include "common/base/span.h"
#include "common/os/file.h"

#include <limits.h>
#include <stdio.h>

enum { LIMIT_FILE_MAX = 64 };

/* v1 writes "no limit" as a number near 2^63. */
static const uint64_t no_limit_from = 1ULL << 60;

static uint64_t read_limit(const char *root, const char *name)
{
    char path[PATH_MAX];
    CLEANUP_FREE char *text = NULL;
    size_t len = 0;
    uint64_t bytes = 0;
    snprintf(path, sizeof(path), "%s/%s", root, name);
    if (file_read(path, LIMIT_FILE_MAX, &text, &len, NULL) < 0)
        return 0;
    if (number_parse_u64(span_trim((struct span){text, len}), 1, no_limit_from - 1, &bytes, NULL) < 0)
        return 0; /* "max", or v1's large number */
    return bytes;
}

uint64_t cgroup_memory_limit(const char *root)
{
    uint64_t v2 = read_limit(root, "memory.max");
    return v2 > 0 ? v2 : read_limit(root, "memory/memory.limit_in_bytes");
}
