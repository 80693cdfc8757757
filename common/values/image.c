#include "common/values/image.h"

#include "common/values/prefix.h"

#include "common/base/ascii.h"

#include <string.h>

/* ---- is it one? ---- */

/* Characters are words and `separators`; it begins and ends with a word. */
static bool is_image_part(struct span s, const char *separators)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_word(s.ptr[i]) && (s.ptr[i] == '\0' || strchr(separators, s.ptr[i]) == NULL))
            return false;
    }
    return s.len > 0 && ascii_is_word(s.ptr[0]) && ascii_is_word(s.ptr[s.len - 1]);
}

/* Cuts what follows the last `mark` off; an empty rest is a fault. */
static bool cut_image_tail(struct span *s, char mark, const char *separators)
{
    const char *at = s->len > 0 ? memrchr(s->ptr, mark, s->len) : NULL;
    const char *end = s->ptr + s->len;
    if (at == NULL || memchr(at, '/', (size_t)(end - at)) != NULL)
        return true;
    s->len = (size_t)(at - s->ptr);
    return is_image_part((struct span){at + 1, (size_t)(end - at) - 1}, separators);
}

/* The first part is a registry when it looks like a host (distribution/reference, splitDockerDomain). */
static bool is_registry(struct span s)
{
    bool host = span_equal(s, "localhost");
    for (size_t i = 0; i < s.len; i++)
        host |= s.ptr[i] == '.' || s.ptr[i] == ':' || ascii_is_upper(s.ptr[i]);
    return host && is_image_part(s, ".-:");
}

/* What may stand between two words of a path: ".", "_", "__" or any number of "-". */
static bool has_good_separators(struct span part)
{
    for (size_t i = 1; i < part.len; i++) {
        char c = part.ptr[i], before = part.ptr[i - 1];
        bool triple = i > 1 && c == '_' && part.ptr[i - 2] == '_';
        if (!ascii_is_word(c) && !ascii_is_word(before) && (c != before || c == '.' || triple))
            return false;
    }
    return true;
}

static bool is_image_path(struct span path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] >= 'A' && path.ptr[i] <= 'Z')
            return false;
    }
    for (;;) {
        const char *slash = path.len > 0 ? memchr(path.ptr, '/', path.len) : NULL;
        struct span part = {path.ptr, slash != NULL ? (size_t)(slash - path.ptr) : path.len};
        if (!is_image_part(part, "._-") || !has_good_separators(part))
            return false;
        if (slash == NULL)
            return true;
        path = (struct span){slash + 1, path.len - part.len - 1};
    }
}

/* [REGISTRY/]PATH[:TAG][@DIGEST] */
bool image_is_reference(struct span text)
{
    struct span name = text;
    if (text.len > IMAGE_MAX || !cut_image_tail(&name, '@', ":+._-") || !cut_image_tail(&name, ':', "._-"))
        return false;
    const char *slash = name.len > 0 ? memchr(name.ptr, '/', name.len) : NULL;
    struct span first = {name.ptr, slash != NULL ? (size_t)(slash - name.ptr) : 0};
    if (slash != NULL && is_registry(first))
        name = (struct span){slash + 1, name.len - first.len - 1};
    return is_image_path(name);
}

/* ---- is it permitted? ---- */

static const char *after_last_slash(struct span image)
{
    const char *slash = memrchr(image.ptr, '/', image.len);
    return slash != NULL ? slash + 1 : image.ptr;
}

/* Runtimes take the digest and pass over the tag: with a tag permitted, a digest behind it would be any image. */
static bool adds_digest_to_tag(struct span prefix, struct span image)
{
    const char *name = after_last_slash(prefix), *rest = image.ptr + prefix.len;
    size_t rest_len = image.len - prefix.len;
    bool tag = memchr(name, ':', prefix.len - (size_t)(name - prefix.ptr)) != NULL;
    return tag && memchr(rest, '/', rest_len) == NULL && memchr(rest, '@', rest_len) != NULL;
}

/* The first part of several: the registry, or who owns the name on the default one. */
static size_t owner_len(struct span image)
{
    const char *slash = image.len > 0 ? memchr(image.ptr, '/', image.len) : NULL;
    return slash != NULL ? (size_t)(slash - image.ptr) : 0;
}

bool image_is_permitted(struct span prefixes, struct span image)
{
    struct span rest = prefixes, prefix;
    while (span_next_item(&rest, &prefix)) {
        if (prefix_permits(prefix, image, owner_len(image), "/:@") && !adds_digest_to_tag(prefix, image))
            return true;
    }
    return false;
}
