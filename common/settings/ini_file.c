#include "common/settings/ini_file.h"

#include "common/base/ascii.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/utf8.h"
#include "common/os/file.h"

#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* inih 55 (MAX_SECTION and MAX_NAME in its ini.c) keeps so many bytes of a section's name, and of a key's for the
 * lines that go on with it; it cuts the rest in silence, also inside a character. */
enum { INIH_NAME_KEPT = INI_FILE_SECTION_MAX + 1 };

/* The key whose value may still go on. */
struct pending {
    bool there;
    int line;
    char section[INI_FILE_LINE_MAX + 1];
    char key[INI_FILE_LINE_MAX + 1];
    struct buf value;
};

struct reading {
    const char *name;
    const char *bytes;
    size_t len;
    size_t pos;
    int line; /* of the line inih was given last */
    bool indented; /* that line */
    ini_file_handler *handler;
    void *ctx;
    struct pending pending;
    int rc;       /* first failure of ours */
    int bad_line; /* where it was */
    struct err *err;
};

static int deliver(struct reading *r)
{
    struct pending *pending = &r->pending;
    if (!pending->there || r->rc < 0)
        return r->rc;
    pending->there = false;
    r->bad_line = pending->line;
    if (buf_error(&pending->value) != 0)
        r->rc = err_set(r->err, ENOMEM, "%s: no memory to read it", r->name);
    else
        r->rc = r->handler(r->ctx, pending->section, pending->key, buf_text(&pending->value),
                           pending->line, r->err);
    return r->rc < 0 ? err_wrap(r->err, r->rc, "%s:%d", r->name, pending->line) : 0;
}

/* What stands above a bad line comes first, unless the line would have gone on with it. */
static void refuse_line(struct reading *r, const struct err *why)
{
    if (!r->indented && deliver(r) < 0)
        return;
    r->bad_line = r->line;
    r->rc = err_set(r->err, EINVAL, "%s:%d: %s", r->name, r->line, why->text);
}

/* Refuses what inih must never see, since it would take it for something else. `room`: bytes that inih has for a
 * line. */
static int check_line(const char *line, size_t len, size_t room, struct err *err)
{
    if (len > INI_FILE_LINE_MAX)
        return err_set(err, EINVAL, "line longer than %d bytes; put the rest of a list on indented lines",
                       INI_FILE_LINE_MAX);
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(line + i, len - i);
        if (n == 0 || line[i] == '\0')
            return err_set(err, EINVAL, "expected UTF-8 text");
        i += n;
    }
    return len + sizeof("\n") > room ? err_set(err, EINVAL, "line too long for the INI library") : 0;
}

/* Length of the line without a comment inside it, which inih leaves in a line that goes on with a value. */
static size_t cut_comment(const char *line, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (line[i] == ';' && ascii_is_space(line[i - 1]))
            return i;
    }
    return len;
}

/* The ini_reader: one line, as fgets would give it. NULL ends the reading, also after a fault. */
static char *read_line(char *out, int num, void *stream)
{
    struct reading *r = stream;
    if (r->rc < 0 || r->pos >= r->len)
        return NULL;
    const char *line = r->bytes + r->pos;
    const char *newline = memchr(line, '\n', r->len - r->pos);
    size_t len = newline != NULL ? (size_t)(newline - line) : r->len - r->pos;
    r->line++;
    r->pos += len + (newline != NULL ? 1 : 0);
    r->indented = len > 0 && ascii_is_space(line[0]);
    struct err why;
    if (check_line(line, len, (size_t)num, &why) < 0) {
        refuse_line(r, &why);
        return NULL;
    }
    len = cut_comment(line, len);
    memcpy(out, line, len);
    out[len] = '\n';
    out[len + 1] = '\0';
    return out;
}

/* inih tells a line that goes on by its key alone, like the same key given again. */
static bool goes_on(const struct reading *r, const char *section, const char *key)
{
    const struct pending *pending = &r->pending;
    return pending->there && r->indented && strcmp(pending->section, section) == 0 &&
           strncmp(pending->key, key, INIH_NAME_KEPT) == 0;
}

/* The ini_handler: inih wants nonzero for success. */
static int take_key(void *user, const char *section, const char *key, const char *value)
{
    struct reading *r = user;
    struct pending *pending = &r->pending;
    if (r->rc < 0)
        return 1;
    if (strlen(section) > INI_FILE_SECTION_MAX) {
        struct err why;
        err_set(&why, EINVAL, "expected a section name of at most %d bytes above it", INI_FILE_SECTION_MAX);
        refuse_line(r, &why);
        return 1;
    }
    if (goes_on(r, section, key)) {
        buf_putc(&pending->value, '\n');
        buf_puts(&pending->value, value);
        return 1;
    }
    if (deliver(r) < 0)
        return 1;
    pending->there = true;
    pending->line = r->line;
    snprintf(pending->section, sizeof(pending->section), "%s", section); /* never longer than a line */
    snprintf(pending->key, sizeof(pending->key), "%s", key);
    buf_clear(&pending->value);
    buf_puts(&pending->value, value);
    return 1;
}

static int read_all(struct reading *r)
{
    int bad = ini_parse_stream(read_line, r, take_key, r);
    if (bad < 0)
        return err_set(r->err, ENOMEM, "%s: no memory to read it", r->name);
    if (bad == 0 || r->pending.line < bad)
        deliver(r);
    if (bad > 0 && (r->rc == 0 || bad < r->bad_line)) /* inih goes on after a line that it does not understand */
        return err_set(r->err, EINVAL, "%s:%d: expected [section] or key = value", r->name, bad);
    return r->rc;
}

int ini_file_parse(const char *name, const char *bytes, size_t len, ini_file_handler *handler, void *ctx,
                   struct err *err)
{
    struct reading r = {
        .name = name, .bytes = bytes, .len = len, .handler = handler, .ctx = ctx, .err = err};
    buf_init(&r.pending.value, INI_FILE_MAX);
    int rc = read_all(&r);
    buf_done(&r.pending.value);
    return rc;
}

int ini_file_read(const char *path, ini_file_handler *handler, void *ctx, struct err *err)
{
    CLEANUP_FREE char *bytes = NULL;
    size_t len = 0;
    int rc = file_read(path, INI_FILE_MAX, &bytes, &len, err);
    if (rc < 0)
        return rc;
    return ini_file_parse(path, bytes, len, handler, ctx, err);
}
