#include "common/pprof/pprof_foreign.h"

#include "common/base/ascii.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define CURE "ask for pprof's protobuf"
#define CURE_CONVERT CURE ", as `pprof -proto` makes it"
#define CURE_PACKED "expected gzip, or no compression"
#define CURE_TEXT CURE ", without debug= in the URL"
#define GPERFTOOLS_BINARY "gperftools' binary format", CURE_CONVERT
#define GO_TEXT "text form of a Go profile", CURE_TEXT
#define SVG "an SVG picture of a profile", CURE

static const struct pprof_foreign zlib_stream = {PPROF_MALFORMED, "a zlib stream", CURE_PACKED};
static const struct pprof_foreign folded_stacks = {PPROF_TEXT, "folded stacks, as flame graphs are made of", CURE};

/* Begins with these bytes. */
static const struct beginning {
    const char *bytes;
    size_t len;
    struct pprof_foreign foreign;
} beginnings[] = {
#define BEGINS(bytes, verdict, ...) {bytes, sizeof(bytes) - 1, {verdict, __VA_ARGS__}}
    BEGINS("\x1f\x8b", PPROF_MALFORMED, "gzip inside gzip",
           "the profile is compressed already; let whoever adds the second gzip stop"),
    BEGINS("\x28\xb5\x2f\xfd", PPROF_MALFORMED, "compressed by zstd", CURE_PACKED),
    BEGINS("BZh", PPROF_MALFORMED, "compressed by bzip2", CURE_PACKED),
    BEGINS("\xfd" "7zXZ\0", PPROF_MALFORMED, "compressed by xz", CURE_PACKED),
    BEGINS("\x04\x22\x4d\x18", PPROF_MALFORMED, "compressed by lz4", CURE_PACKED),
    BEGINS("\xff\x06\0\0sNaPpY", PPROF_MALFORMED, "compressed by snappy", CURE_PACKED),
    BEGINS("PK\3\4", PPROF_MALFORMED, "a ZIP archive", CURE_PACKED),
    BEGINS("H4sI", PPROF_TEXT, "gzip in base64", "expected the bytes as they are"),
    BEGINS("go 1.", PPROF_MALFORMED, "a Go execution trace", "types = trace takes those; is the URL right?"),
    BEGINS("FLR\0", PPROF_MALFORMED, "a Java Flight Recording", CURE),
    BEGINS("JAVA PROFILE 1.", PPROF_MALFORMED, "a Java heap dump", CURE),
    BEGINS("PERFILE2", PPROF_MALFORMED, "a recording of Linux perf", CURE_CONVERT),
    BEGINS("Nettrace", PPROF_MALFORMED, "a .NET event trace", CURE),
    /* Legacy CPU profiles (gperftools' profiledata.h): words of a header, 0 3 0, in 64 bits, and in 32. */
    BEGINS("\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", PPROF_MALFORMED, GPERFTOOLS_BINARY),
    BEGINS("\0\0\0\0\3\0\0\0\0\0\0\0", PPROF_MALFORMED, GPERFTOOLS_BINARY),
    BEGINS("heap profile:", PPROF_TEXT, "a heap profile as text, of gperftools or of Go with debug=1",
           CURE ", without debug="),
    BEGINS("heap_v2/", PPROF_TEXT, "jemalloc's text format", CURE),
    BEGINS("--- symbol\n", PPROF_TEXT, "gperftools' symbolized text format", CURE_CONVERT),
    BEGINS("--- heapz", PPROF_TEXT, "gperftools' text format for Java", CURE),
    BEGINS("--- contention", PPROF_TEXT, GO_TEXT),
    BEGINS("--- mutex", PPROF_TEXT, GO_TEXT),
    BEGINS("goroutine profile:", PPROF_TEXT, GO_TEXT),
    BEGINS("threadcreate profile:", PPROF_TEXT, GO_TEXT),
    BEGINS("<svg", PPROF_TEXT, SVG),
    BEGINS("{\"nodes\":[", PPROF_TEXT, "a profile of V8 as JSON", CURE),
#undef BEGINS
};

/* Text that has this in its first bytes. */
static const struct {
    const char *text;
    struct pprof_foreign foreign;
} contents[] = {
    {"<!DOCTYPE svg", {PPROF_TEXT, SVG}},
    {"<svg", {PPROF_TEXT, SVG}},
    /* Graphviz says more before "svg" than there are first bytes. */
    {"<?xml ", {PPROF_TEXT, "XML, most likely an SVG picture of a profile", CURE}},
    {"<title>/debug/pprof/</title>",
     {PPROF_TEXT, "Go's index page", "pprof.Index finds names below /debug/pprof/ only; elsewhere register "
                                     "pprof.Handler(NAME), or use http.StripPrefix"}},
    {"www.speedscope.app/", {PPROF_TEXT, "a profile of speedscope as JSON", CURE}},
    {"\"traceEvents\"", {PPROF_TEXT, "a trace of Chrome as JSON", CURE}},
};

/* RFC 1950 §2.2: deflate, a window that its encoders use, no dictionary, and a check of these two bytes. */
static bool is_zlib(const uint8_t *head, size_t len)
{
    return len >= 2 && (head[0] & 0x8F) == 0x08 && head[0] >= 0x18 && (head[1] & 0x20) == 0 &&
           (head[0] << 8 | head[1]) % 31 == 0;
}

/* FRAME;FRAME NUMBER: told by the first line, when it is short enough to be seen whole. */
static bool is_folded(const uint8_t *head, size_t len)
{
    const uint8_t *end = memchr(head, '\n', len);
    if (end == NULL || memchr(head, ';', (size_t)(end - head)) == NULL)
        return false;
    const uint8_t *at = end;
    while (at > head && ascii_is_digit((char)at[-1]))
        at--;
    return at < end && at > head && at[-1] == ' ';
}

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
    if (is_zlib(head, len))
        return &zlib_stream;
    return is_folded(head, len) ? &folded_stacks : NULL;
}
