#include "common/base/rfc3339.h"

#include <time.h>

bool rfc3339_write(char out[static RFC3339_SIZE], int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm tm;
    if (gmtime_r(&time, &tm) != NULL && strftime(out, RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        return true;
    out[0] = '\0';
    return false;
}
