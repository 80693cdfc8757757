/* Any text as a URL, as a path and as a list of targets. What is taken holds only what its part may hold; written out
 * again it means the same. */
#include "fuzz.h"

#include "common/values/targets.h"
#include "common/values/url.h"

static void must_hold_only(struct span s, const char *allowed)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        must(word || (c != '\0' && strchr(allowed, c) != NULL), "expected only characters that belong there");
    }
}

static bool same(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void check_url(struct span text)
{
    char again[2 * URL_MAX];
    struct url url = {.port = 4711}, second;
    struct err err = {0};
    int rc = url_parse(text, &url, &err);
    must_be_told(rc, &err);
    if (rc < 0) {
        must(url.port == 4711 && url.host.ptr == NULL, "expected a failure to leave the output alone");
        return;
    }
    bool v6 = memchr(url.host.ptr, ':', url.host.len) != NULL;
    must(url.port > 0 && url.host.len > 0 && url.host.len <= 253, "expected a host and a port");
    must_hold_only(url.host, "-._:");
    must_hold_only(url.path, "-._~!$&'()*+;=:@/%");
    must(url.path.len == 0 || (url.path.ptr[0] == '/' && url.path.ptr[url.path.len - 1] != '/'),
         "expected a path without an end");
    snprintf(again, sizeof(again), "%s://%s%.*s%s:%u%.*s", url.https ? "https" : "http", v6 ? "[" : "",
             (int)url.host.len, url.host.ptr, v6 ? "]" : "", url.port, (int)url.path.len, url.path.ptr);
    if (strlen(again) > URL_MAX)
        return;
    must(url_parse((struct span){again, strlen(again)}, &second, NULL) == 0,
         "expected to take what was written out again");
    must(second.https == url.https && second.port == url.port && same(second.host, url.host) &&
             same(second.path, url.path),
         "expected the same URL again");
    if (url.path.len > 0)
        must(url_check_path(url.path, NULL) == 0, "expected the path of a URL to be a path");
}

static void check_targets(struct span text)
{
    struct targets targets = {.count = 77};
    struct err err = {0};
    int rc = targets_parse(text, &targets, &err);
    must_be_told(rc, &err);
    if (rc < 0) {
        must(targets.count == 77, "expected a failure to leave the output alone");
        return;
    }
    must(targets.count > 0 && targets.count <= TARGETS_MAX, "expected 1 to 8 targets");
    for (unsigned i = 0; i < targets.count; i++) {
        const struct target *target = &targets.items[i];
        struct url url;
        must(url_parse((struct span){target->url, strlen(target->url)}, &url, NULL) == 0,
             "expected the URL of a target to be one");
        must(target->url[strlen(target->url) - 1] != '/', "expected no slash at the end");
        must_hold_only((struct span){target->name, strlen(target->name)}, "-._");
        for (unsigned k = 0; k < i; k++)
            must(strcmp(target->name, targets.items[k].name) != 0, "expected each name once");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_SIZE_MAX)
        return 0;
    struct span text = fuzz_copy(data, size);
    struct err err = {0};
    check_url(text);
    check_targets(text);
    must_be_told(url_check_path(text, &err), &err);
    free((char *)text.ptr);
    return 0;
}
