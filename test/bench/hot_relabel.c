/* The hot path of a push for `instructions`: labels written into each sample of a profile, check and gzip included.
 *
 * usage: hot_relabel FILE
 */
#include "hot.h"

#include "common/pprof/pprof.h"
#include "common/pprof/relabel.h"

enum { PIECE = 16 * 1024 };

static const struct labels labels = {
    .count = 5,
    .items = {{"namespace", "shop"}, {"pod", "web-7d4b9c6f58-x2x7k"}, {"node", "node-1"}, {"container", "web"},
              {"from", "profefe-agent"}},
};

static int64_t read_file(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    const struct hot_file *file = ctx;
    size_t n = file->len - (size_t)offset;
    n = n < len ? n : len;
    memcpy(bytes, file->bytes + offset, n);
    return (int64_t)n;
}

static void relabel_once(void *ctx)
{
    static char out[PIECE];
    struct relabel_request request = {.source = read_file, .source_ctx = ctx, .labels = &labels, .type = "heap",
                                      .url = "http://localhost:6060/debug/pprof/heap", .raw_max = PPROF_RAW_MAX};
    struct relabel *relabel = NULL;
    if (relabel_new(&request, &relabel) < 0)
        hot_fail("relabel", "no memory");
    int64_t n;
    do {
        n = relabel_read(relabel, out, sizeof(out));
    } while (n > 0);
    if (n < 0 || relabel_get_result(relabel) != RELABEL_DONE)
        hot_fail("expected a relabelled profile", relabel_result_names[relabel_get_result(relabel)]);
    relabel_free(relabel);
}

int main(int argc, char **argv)
{
    struct hot_file file = hot_read_file(argc, argv);
    hot_run(relabel_once, &file);
    free(file.bytes);
    return 0;
}
