#include "common/push/outgoing.h"

#include "common/pprof/pprof.h"

#include <stdio.h>
#include <string.h>

enum profile_kind outgoing_kind(const char *type)
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
    if (strcmp(profile_kinds[outgoing_kind(type)].profefe_type, profile_kinds[PROFILE_OTHER].profefe_type) != 0)
        return "";
    const char *name = profile_types_other_name(type);
    return name != NULL ? name : type;
}

static void add_own_label(struct outgoing *outgoing, const char *key, const char *value)
{
    if (value[0] == '\0')
        return;
    struct label *label = &outgoing->own[outgoing->own_count++];
    snprintf(label->key, sizeof(label->key), "%s", key);
    snprintf(label->value, sizeof(label->value), "%s", value);
}

void outgoing_open(struct outgoing *outgoing, struct spool *spool, const struct outgoing_options *options,
                   const struct spool_item *item)
{
    *outgoing = (struct outgoing){.spool = spool, .options = options, .item = *item};
    add_own_label(outgoing, "target", item->meta.target);
    add_own_label(outgoing, "profile_type", profile_type_of(item->meta.type));
}

void outgoing_close(struct outgoing *outgoing)
{
    outgoing->relabel = relabel_free(outgoing->relabel);
}

/* ---- labels in samples ---- */

static int64_t read_stored(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    const struct outgoing *outgoing = ctx;
    return spool_read(outgoing->spool, outgoing->item.id, offset, bytes, len);
}

/* Where it was fetched, less the seconds; "" for a target that is no longer scraped (a profile left on disk). */
static void write_source_url(struct outgoing *outgoing)
{
    const char *type = outgoing->item.meta.type;
    const char *path = profile_kinds[outgoing_kind(type)].path;
    const struct targets *targets = outgoing->options->targets;
    if (path == NULL)
        path = profile_type_of(type);
    outgoing->source_url[0] = '\0';
    for (unsigned i = 0; i < targets->count; i++) {
        if (strcmp(targets->items[i].name, outgoing->item.meta.target) == 0)
            snprintf(outgoing->source_url, sizeof(outgoing->source_url), "%s/%s", targets->items[i].url, path);
    }
}

/* Cannot fail but for a full list: the values were checked, and nobody else may set these keys. */
static void choose_labels(struct outgoing *outgoing)
{
    outgoing->labels = *outgoing->options->labels;
    for (unsigned i = 0; i < outgoing->own_count; i++) {
        const struct label *own = &outgoing->own[i];
        labels_add(&outgoing->labels, (struct span){own->key, strlen(own->key)}, (struct span){own->value, strlen(own->value)}, NULL);
    }
}

void outgoing_start(struct outgoing *outgoing, enum relabel_result *ret_unlabelled)
{
    outgoing_close(outgoing);
    outgoing->offset = 0;
    *ret_unlabelled = RELABEL_DONE;
    if (!outgoing->options->sample_labels || outgoing_kind(outgoing->item.meta.type) == PROFILE_TRACE)
        return;
    choose_labels(outgoing);
    write_source_url(outgoing);
    const struct relabel_request request = {.source = read_stored, .source_ctx = outgoing, .labels = &outgoing->labels,
                                            .type = outgoing->item.meta.type,
                                            .url = outgoing->source_url[0] != '\0' ? outgoing->source_url : NULL,
                                            .raw_max = PPROF_RAW_MAX};
    if (relabel_new(&request, &outgoing->relabel) < 0)
        *ret_unlabelled = RELABEL_NO_MEMORY;
}

int outgoing_scan(struct outgoing *outgoing, size_t max_bytes, enum relabel_result *ret_unlabelled)
{
    *ret_unlabelled = RELABEL_DONE;
    if (outgoing->relabel == NULL)
        return 0;
    int rc = relabel_scan(outgoing->relabel, max_bytes);
    if (rc != 0)
        return rc;
    *ret_unlabelled = relabel_get_result(outgoing->relabel);
    if (*ret_unlabelled != RELABEL_DONE)
        outgoing_close(outgoing);
    return 0;
}

/* ---- reading ---- */

int64_t outgoing_read(void *ctx, char *bytes, size_t len)
{
    struct outgoing *outgoing = ctx;
    if (outgoing->relabel != NULL)
        return relabel_read(outgoing->relabel, bytes, len);
    int64_t n = spool_read(outgoing->spool, outgoing->item.id, outgoing->offset, bytes, len);
    if (n > 0)
        outgoing->offset += (uint64_t)n;
    return n;
}

int64_t outgoing_size(const struct outgoing *outgoing)
{
    return outgoing->relabel != NULL ? -1 : (int64_t)outgoing->item.size_bytes;
}
