#include "common/pprof/pprof_foreign.h"

#include <string.h>

#define CURE "ask for pprof's protobuf"
#define GPERFTOOLS_BINARY "gperftools' binary format: " CURE ", as `pprof -proto` makes it"
#define GO_TEXT "text form of a Go profile: " CURE ", without debug= in the URL"

/* Begins with these bytes. */
static const struct beginning {
    const char *bytes;
    size_t len;
    struct pprof_foreign foreign;
} beginnings[] = {
#define BEGINS(bytes, verdict, words) {bytes, sizeof(bytes) - 1, {verdict, words}}
    BEGINS("\x1f\x8b", PPROF_MALFORMED,
           "gzip inside gzip: the profile is compressed already; let whoever adds the second gzip stop"),
    BEGINS("\x28\xb5\x2f\xfd", PPROF_MALFORMED, "compressed by zstd: expected gzip, or no compression"),
    BEGINS("\x78\x01", PPROF_MALFORMED, "a zlib stream: expected gzip, or no compression"),
    BEGINS("\x78\x5e", PPROF_MALFORMED, "a zlib stream: expected gzip, or no compression"),
    BEGINS("\x78\x9c", PPROF_MALFORMED, "a zlib stream: expected gzip, or no compression"),
    BEGINS("\x78\xda", PPROF_MALFORMED, "a zlib stream: expected gzip, or no compression"),
    BEGINS("FLR\0", PPROF_MALFORMED, "a Java Flight Recording: " CURE),
    /* Legacy CPU profiles (gperftools' profiledata.h): words of a header, 0 3 0, in 64 bits, and in 32. */
    BEGINS("\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", PPROF_MALFORMED,
           GPERFTOOLS_BINARY),
    BEGINS("\0\0\0\0\3\0\0\0\0\0\0\0", PPROF_MALFORMED, GPERFTOOLS_BINARY),
    BEGINS("heap profile:", PPROF_TEXT,
           "a heap profile as text, of gperftools or of Go with debug=1: " CURE ", without debug="),
    BEGINS("heap_v2/", PPROF_TEXT, "jemalloc's text format: " CURE),
    BEGINS("--- symbol\n", PPROF_TEXT, "gperftools' symbolized text format: " CURE ", as `pprof -proto` makes it"),
    BEGINS("--- contention", PPROF_TEXT, GO_TEXT),
    BEGINS("--- mutex", PPROF_TEXT, GO_TEXT),
    BEGINS("goroutine profile:", PPROF_TEXT, GO_TEXT),
    BEGINS("threadcreate profile:", PPROF_TEXT, GO_TEXT),
    BEGINS("<svg", PPROF_TEXT, "an SVG picture of a profile: " CURE),
#undef BEGINS
};

/* Text that has this in its first bytes. */
static const struct {
    const char *text;
    struct pprof_foreign foreign;
} contents[] = {
    {"<!DOCTYPE svg", {PPROF_TEXT, "an SVG picture of a profile: " CURE}},
    {"<title>/debug/pprof/</title>",
     {PPROF_TEXT, "Go's index page: pprof.Index finds names below /debug/pprof/ only; elsewhere register "
                  "pprof.Handler(NAME), or use http.StripPrefix"}},
};

const struct pprof_foreign *pprof_foreign_find(const void *head, size_t len)
{
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        const struct beginning *beginning = &beginnings[i];
        if (len >= beginning->len && memcmp(head, beginning->bytes, beginning->len) == 0)
            return &beginning->foreign;
    }
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        if (memmem(head, len, contents[i].text, strlen(contents[i].text)) != NULL)
            return &contents[i].foreign;
    }
    return NULL;
}
