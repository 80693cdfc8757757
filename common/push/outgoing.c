#include "common/push/outgoing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { COUNT_BYTES = 16 * 1024 }; /* read at a time only to be counted */

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

/* ---- the note ---- */

enum { NOTE_TIME_IS_RIGHT = 1, NOTE_TAKES_LABELS = 2 };

/* The labels that an item may have of its own. */
static const char *const own_keys[OUTGOING_OWN_MAX] = {"target", "profile_type"};

bool outgoing_watch(const struct labels *labels, struct pprof_watch *ret)
{
    *ret = (struct pprof_watch){.count = labels->count + OUTGOING_OWN_MAX};
    if (ret->count > PPROF_WATCH_MAX)
        return false;
    for (unsigned i = 0; i < ret->count; i++) {
        const char *key = i < labels->count ? labels->items[i].key : own_keys[i - labels->count];
        ret->items[i] = (struct pprof_watched){.text = key, .len = strlen(key)};
    }
    return true;
}

static bool finds_any(const struct pprof_watch *watch)
{
    for (unsigned i = 0; i < watch->count; i++) {
        if (watch->items[i].found > 0)
            return true;
    }
    return false;
}

struct spool_note outgoing_note(const struct pprof_summary *summary, const struct pprof_watch *watch, int64_t time_ms)
{
    struct spool_note note = {0};
    if (summary->verdict != PPROF_OK)
        return note;
    if (summary->time_nanos == 0 || summary->time_nanos / 1000000 == time_ms)
        note.flags |= NOTE_TIME_IS_RIGHT;
    if (watch != NULL && !finds_any(watch) && summary->sample_bytes_max <= RELABEL_SAMPLE_MAX &&
        summary->strings <= UINT32_MAX) {
        note.flags |= NOTE_TAKES_LABELS;
        note.number = (uint32_t)summary->strings;
    }
    return note;
}

/* ---- opening ---- */

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
    add_own_label(outgoing, own_keys[0], item->meta.target);
    add_own_label(outgoing, own_keys[1], profile_type_of(item->meta.type));
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
        labels_add(&outgoing->labels, (struct span){own->key, strlen(own->key)},
                   (struct span){own->value, strlen(own->value)}, NULL);
    }
}

/* Without labels the time alone may have to be mended. */
static bool needs_rewriting(const struct outgoing *outgoing)
{
    if (outgoing_kind(outgoing->item.meta.type) == PROFILE_TRACE)
        return false;
    return outgoing->options->sample_labels || (outgoing->item.note.flags & NOTE_TIME_IS_RIGHT) == 0;
}

static void fill_request(struct outgoing *outgoing, struct relabel_request *ret)
{
    const struct spool_item *item = &outgoing->item;
    bool time_is_right = (item->note.flags & NOTE_TIME_IS_RIGHT) != 0;
    *ret = (struct relabel_request){.source = read_stored, .source_ctx = outgoing, .labels = &outgoing->labels,
                                    .raw_max = PPROF_RAW_MAX, .time_ms = time_is_right ? 0 : item->meta.time_ms};
    if (!outgoing->options->sample_labels)
        return;
    choose_labels(outgoing);
    write_source_url(outgoing);
    ret->type = item->meta.type;
    ret->url = outgoing->source_url[0] != '\0' ? outgoing->source_url : NULL;
    if (time_is_right && (item->note.flags & NOTE_TAKES_LABELS) != 0)
        ret->known_strings = item->note.number;
}

/* Labels that are not asked for are not missed; without memory a wrong time stays as it is. */
static enum relabel_result missed(const struct outgoing *outgoing, enum relabel_result result)
{
    return outgoing->options->sample_labels || result == RELABEL_NO_MEMORY ? result : RELABEL_DONE;
}

void outgoing_start(struct outgoing *outgoing, enum relabel_result *ret_unlabelled)
{
    struct relabel_request request;
    outgoing_close(outgoing);
    outgoing->offset = 0;
    outgoing->counted = 0;
    outgoing->is_counted = false;
    *ret_unlabelled = RELABEL_DONE;
    if (!needs_rewriting(outgoing))
        return;
    fill_request(outgoing, &request);
    if (relabel_new(&request, &outgoing->relabel) < 0)
        *ret_unlabelled = missed(outgoing, RELABEL_NO_MEMORY);
}

int outgoing_scan(struct outgoing *outgoing, size_t max_bytes, enum relabel_result *ret_unlabelled)
{
    *ret_unlabelled = RELABEL_DONE;
    if (outgoing->relabel == NULL)
        return 0;
    int rc = relabel_scan(outgoing->relabel, max_bytes);
    if (rc != 0)
        return rc;
    *ret_unlabelled = missed(outgoing, relabel_get_result(outgoing->relabel));
    if (!relabel_is_rewriting(outgoing->relabel))
        outgoing_close(outgoing);
    return 0;
}

bool outgoing_replaces_time(const struct outgoing *outgoing)
{
    return outgoing->relabel != NULL && relabel_replaces_time(outgoing->relabel);
}

bool outgoing_has_renamed(const struct outgoing *outgoing)
{
    return outgoing->relabel != NULL && relabel_has_renamed(outgoing->relabel);
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

int outgoing_count(struct outgoing *outgoing, size_t max_bytes)
{
    char bytes[COUNT_BYTES];
    if (outgoing_size(outgoing) >= 0)
        return 0;
    for (size_t done = 0; done < max_bytes; done += sizeof(bytes)) {
        int64_t n = relabel_read(outgoing->relabel, bytes, sizeof(bytes));
        if (n < 0)
            return (int)n;
        outgoing->counted += n;
        if (n == 0) {
            outgoing->is_counted = true;
            return relabel_rewind(outgoing->relabel);
        }
    }
    return 1;
}

int64_t outgoing_size(const struct outgoing *outgoing)
{
    if (outgoing->relabel == NULL)
        return (int64_t)outgoing->item.size_bytes;
    return outgoing->is_counted ? outgoing->counted : -1;
}
