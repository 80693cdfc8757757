#include "common/push/push_body.h"

#include "common/pprof/pprof.h"

#include <stdio.h>
#include <string.h>

void push_end_set(struct push_end *end, enum push_result result, const char *words)
{
    *end = (struct push_end){.result = result, .retry_after_ms = -1};
    snprintf(end->words, sizeof(end->words), "%s", words);
}

void push_end_set_unread(struct push_end *end, int code)
{
    push_end_set(end, code == -ESTALE ? PUSH_GONE : PUSH_NETWORK, "");
    snprintf(end->words, sizeof(end->words), "cannot read the spool: %s", strerror(-code));
}

enum profile_kind push_body_kind(const char *type)
{
    for (enum profile_kind kind = 0; kind < PROFILE_OTHER; kind++) {
        if (strcmp(profile_kinds[kind].name, type) == 0)
            return kind;
    }
    return PROFILE_OTHER;
}

/* profefe knows one type "other" for all of them, and a label tells them apart: "allocs", "wall" of "other/wall". */
static const char *profile_type_of(const char *type)
{
    if (strcmp(profile_kinds[push_body_kind(type)].profefe_type, profile_kinds[PROFILE_OTHER].profefe_type) != 0)
        return "";
    const char *name = profile_types_other_name(type);
    return name != NULL ? name : type;
}

static void add_own_label(struct push_body *body, const char *key, const char *value)
{
    if (value[0] == '\0')
        return;
    struct label *label = &body->own[body->own_count++];
    snprintf(label->key, sizeof(label->key), "%s", key);
    snprintf(label->value, sizeof(label->value), "%s", value);
}

void push_body_open(struct push_body *body, struct spool *spool, const struct push_options *options,
                    const struct spool_item *item)
{
    *body = (struct push_body){.spool = spool, .options = options, .item = *item};
    add_own_label(body, "target", item->meta.target);
    add_own_label(body, "profile_type", profile_type_of(item->meta.type));
}

void push_body_close(struct push_body *body)
{
    body->relabel = relabel_free(body->relabel);
}

/* ---- labels in samples ---- */

static int64_t read_stored(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    const struct push_body *body = ctx;
    return spool_read(body->spool, body->item.id, offset, bytes, len);
}

/* Where it was fetched, less the seconds; "" for a target that is no longer scraped (a profile left on disk). */
static void write_source_url(struct push_body *body)
{
    const char *type = body->item.meta.type;
    const char *path = profile_kinds[push_body_kind(type)].path;
    const struct targets *targets = body->options->targets;
    if (path == NULL)
        path = profile_type_of(type);
    body->source_url[0] = '\0';
    for (unsigned i = 0; i < targets->count; i++) {
        if (strcmp(targets->items[i].name, body->item.meta.target) == 0)
            snprintf(body->source_url, sizeof(body->source_url), "%s/%s", targets->items[i].url, path);
    }
}

/* Cannot fail but for a full list: the values were checked, and nobody else may set these keys. */
static void choose_labels(struct push_body *body)
{
    body->labels = *body->options->labels;
    for (unsigned i = 0; i < body->own_count; i++) {
        const struct label *own = &body->own[i];
        labels_add(&body->labels, (struct span){own->key, strlen(own->key)}, (struct span){own->value, strlen(own->value)}, NULL);
    }
}

void push_body_start(struct push_body *body, enum relabel_result *ret_unlabelled)
{
    push_body_close(body);
    body->offset = 0;
    *ret_unlabelled = RELABEL_DONE;
    if (!body->options->sample_labels || push_body_kind(body->item.meta.type) == PROFILE_TRACE)
        return;
    choose_labels(body);
    write_source_url(body);
    const struct relabel_request request = {.source = read_stored, .source_ctx = body, .labels = &body->labels,
                                            .type = body->item.meta.type,
                                            .url = body->source_url[0] != '\0' ? body->source_url : NULL,
                                            .raw_max = PPROF_RAW_MAX};
    if (relabel_new(&request, &body->relabel) < 0)
        *ret_unlabelled = RELABEL_NO_MEMORY;
}

int push_body_scan(struct push_body *body, size_t max_bytes, enum relabel_result *ret_unlabelled)
{
    *ret_unlabelled = RELABEL_DONE;
    if (body->relabel == NULL)
        return 0;
    int rc = relabel_scan(body->relabel, max_bytes);
    if (rc != 0)
        return rc;
    *ret_unlabelled = relabel_get_result(body->relabel);
    if (*ret_unlabelled != RELABEL_DONE)
        push_body_close(body);
    return 0;
}

/* ---- reading ---- */

int64_t push_body_read(void *ctx, char *bytes, size_t len)
{
    struct push_body *body = ctx;
    if (body->relabel != NULL)
        return relabel_read(body->relabel, bytes, len);
    int64_t n = spool_read(body->spool, body->item.id, body->offset, bytes, len);
    if (n > 0)
        body->offset += (uint64_t)n;
    return n;
}

int64_t push_body_size(const struct push_body *body)
{
    return body->relabel != NULL ? -1 : (int64_t)body->item.size_bytes;
}
