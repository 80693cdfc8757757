/* The hot path of a scrape for `instructions`: the check of a profile, fed as the socket gives it.
 *
 * usage: hot_check FILE
 */
#include "hot.h"

#include "common/pprof/pprof.h"

enum { PIECE = 16 * 1024 };

static void check_once(void *ctx)
{
    const struct hot_file *file = ctx;
    struct pprof_check *check = NULL;
    struct pprof_summary summary;
    if (pprof_check_new(PPROF_RAW_MAX, &check) < 0)
        hot_fail("check", "no memory");
    for (size_t at = 0; at < file->len; at += PIECE)
        pprof_check_feed(check, file->bytes + at, file->len - at < PIECE ? file->len - at : PIECE);
    pprof_check_finish(check, &summary);
    if (summary.verdict != PPROF_OK)
        hot_fail("expected a good profile", summary.reason);
    pprof_check_free(check);
}

int main(int argc, char **argv)
{
    struct hot_file file = hot_read_file(argc, argv);
    hot_run(check_once, &file);
    free(file.bytes);
    return 0;
}
