/* The bytes of one spooled profile as they are delivered: with its labels in the samples, or as it came.
 *
 *   outgoing_open ──▶ outgoing_scan, again and again ──▶ outgoing_read ──▶ outgoing_close
 *
 * A trace is no pprof, and goes as it came whatever the options; so does what cannot be labelled (relabel.h), which the
 * scan tells by its result. Nothing here waits.
 */
#ifndef PROFEFE_OUTGOING_H
#define PROFEFE_OUTGOING_H

#include "common/pprof/pprof.h"
#include "common/pprof/relabel.h"
#include "common/spool/spool.h"
#include "common/values/labels.h"
#include "common/values/profile_types.h"
#include "common/values/targets.h"

enum { OUTGOING_OWN_MAX = 2 };

/* What goes with every profile; all borrowed. */
struct outgoing_options {
    const struct labels *labels;
    const struct targets *targets; /* for the comment `url=` */
    bool sample_labels;            /* also write the labels into each sample */
};

/* What a check of a profile on its way into the spool spares the way out, as the note of the spool's item. watch:
 * filled by the check from outgoing_watch; NULL: its samples get no labels. time_ms: what the spool files it under. */
struct spool_note outgoing_note(const struct pprof_summary *summary, const struct pprof_watch *watch, int64_t time_ms);

/* The keys that labels and the item's own may write into samples; borrows them. False: too many to watch for. */
bool outgoing_watch(const struct labels *labels, struct pprof_watch *ret);

struct outgoing {
    struct spool *spool;
    const struct outgoing_options *options;
    struct spool_item item;
    uint64_t offset;         /* of item, handed out; those as they came only */
    struct relabel *relabel; /* NULL = as it came */
    int64_t counted;         /* rewritten bytes that outgoing_count has read */
    bool is_counted;         /* to the end */
    struct labels labels;    /* for the samples: options->labels and the item's own */
    char source_url[TARGET_URL_MAX + SPOOL_TYPE_MAX + 2];
    struct label own[OUTGOING_OWN_MAX]; /* the item's own labels on profefe: target, profile_type */
    unsigned own_count;
};

/* What a type of the settings is: "cpu", "other/wall". */
enum profile_kind outgoing_kind(const char *type);

/* spool and options are borrowed until it is closed, by its address: no copies. */
void outgoing_open(struct outgoing *outgoing, struct spool *spool, const struct outgoing_options *options,
                   const struct spool_item *item);
void outgoing_close(struct outgoing *outgoing); /* may be called again */

/* Makes it ready to be read, unless it is to be scanned first. *ret_unlabelled: RELABEL_DONE, or why labels that were
 * asked for are left out; RELABEL_NO_MEMORY also where only its time would have been looked at. */
void outgoing_start(struct outgoing *outgoing, enum relabel_result *ret_unlabelled);

/* Reads about max_bytes of it ahead. 1 = go on, 0 = ready, *ret_unlabelled as above; -Exxx of spool_read. */
int outgoing_scan(struct outgoing *outgoing, size_t max_bytes, enum relabel_result *ret_unlabelled);

/* The next bytes, once ready: a source for httpc; ctx is the outgoing. 0 at the end, or -Exxx. */
int64_t outgoing_read(void *ctx, char *bytes, size_t len);

/* Once ready: its time_nanos is not the time that the spool files it under, and is replaced. */
bool outgoing_replaces_time(const struct outgoing *outgoing);

/* Once read: samples had keys of ours already (relabel.h). */
bool outgoing_has_renamed(const struct outgoing *outgoing);

/* Reads about max_bytes of a ready one only to count them, and begins anew at its end. 1 = go on, 0 = outgoing_size is
 * known; -Exxx of outgoing_read. */
int outgoing_count(struct outgoing *outgoing, size_t max_bytes);

/* -1 = not known before it is read or counted. */
int64_t outgoing_size(const struct outgoing *outgoing);

#endif
