#include "conf.h"

#include "cleanup.h"
#include "file.h"
#include "text.h"

#include <ini.h>
#include <string.h>

struct reading {
    const char *name;
    const char *bytes;
    size_t len;
    size_t pos;
    int line; /* of the line inih was given last */
    conf_handler *handler;
    void *ctx;
    int rc; /* first failure */
    struct err *err;
};

static int bad_line(struct reading *r, const char *what)
{
    r->rc = err_set(r->err, EINVAL, "%s:%d: %s", r->name, r->line, what);
    return r->rc;
}

/* What inih must never see, since it would take it for something else. */
static const char *line_fault(const char *line, size_t len)
{
    if (len > CONF_LINE_MAX)
        return "line longer than 190 bytes; put the rest of a list on indented lines";
    for (size_t i = 0; i < len;) {
        size_t n = text_utf8_len(line + i, len - i);
        if (n == 0 || line[i] == '\0')
            return "expected UTF-8 text";
        i += n;
    }
    return NULL;
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
    const char *fault = len + 2 > (size_t)num ? "line too long for the INI library" : line_fault(line, len);
    if (fault != NULL) {
        bad_line(r, fault);
        return NULL;
    }
    memcpy(out, line, len);
    out[len] = '\n';
    out[len + 1] = '\0';
    return out;
}

/* The ini_handler: inih wants nonzero for success. */
static int take_key(void *user, const char *section, const char *key, const char *value)
{
    struct reading *r = user;
    if (r->rc < 0)
        return 1;
    int rc = r->handler(r->ctx, section, key, value, r->err);
    if (rc < 0)
        r->rc = err_wrap(r->err, rc, "%s:%d", r->name, r->line);
    return 1;
}

int conf_read(const char *name, const char *bytes, size_t len, conf_handler *handler, void *ctx,
              struct err *err)
{
    struct reading r = {
        .name = name, .bytes = bytes, .len = len, .handler = handler, .ctx = ctx, .err = err};
    int bad = ini_parse_stream(read_line, &r, take_key, &r);
    if (r.rc < 0)
        return r.rc;
    if (bad > 0)
        return err_set(err, EINVAL, "%s:%d: expected [section] or key = value", name, bad);
    if (bad < 0)
        return err_set(err, ENOMEM, "%s: no memory to read it", name);
    return 0;
}

int conf_read_file(const char *path, conf_handler *handler, void *ctx, struct err *err)
{
    CLEANUP_FREE char *bytes = NULL;
    size_t len = 0;
    int rc = file_read(path, CONF_FILE_MAX, &bytes, &len, err);
    if (rc < 0)
        return rc;
    return conf_read(path, bytes, len, handler, ctx, err);
}
