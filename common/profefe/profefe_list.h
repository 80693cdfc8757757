/* Reads profefe's list of profiles as it streams by, to learn whether one profile is in it. Pure; constant memory.
 *
 *   {"code":200,"body":[{"id":"…","type":"cpu","service":"web","labels":[{"key":"pod","value":"web-1"},…],
 *                        "created_at":"2026-11-22T16:46:40Z"},…]}
 *
 * (github.com/profefe/profefe pkg/profefe/models.go; created_at comes cut to the second.) To take a stranger's profile
 * for ours would lose ours, so it has to be the same in all that was sent: service, type, second, and each label, no
 * more and no fewer. Whatever is not understood is "not found".
 */
#ifndef PROFEFE_PROFEFE_LIST_H
#define PROFEFE_PROFEFE_LIST_H

#include "common/base/rfc3339.h"
#include "common/values/labels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROFEFE_LIST_DEPTH_MAX = 16,  /* containers in each other; profefe has 5 */
    PROFEFE_LIST_TEXT_MAX = 255,  /* bytes of a string; longer ones equal nothing */
    PROFEFE_LIST_LABELS_MAX = LABELS_MAX + 2, /* and target and profile_type */
};

/* The profile that is looked for; all borrowed. */
struct profefe_wanted {
    const char *service;
    const char *type;
    int64_t created_at_ms;
    const struct labels *labels;
    const struct label *extra;
    unsigned extra_count; /* labels and extra: at most PROFEFE_LIST_LABELS_MAX */
};

enum profefe_list_verdict {
    PROFEFE_LIST_READING,
    PROFEFE_LIST_FOUND,  /* stays so, whatever comes after it */
    PROFEFE_LIST_ABSENT, /* the list is over */
    PROFEFE_LIST_BAD,    /* not profefe's JSON */
};

/* What a JSON container is in the list. */
enum profefe_list_role { LIST_STRANGER, LIST_REPLY, LIST_BODY, LIST_ENTRY, LIST_LABELS, LIST_LABEL };

struct profefe_list {
    const struct profefe_wanted *wanted;
    char second[RFC3339_SIZE]; /* created_at as the list has it, without the zone */
    enum profefe_list_verdict verdict;
    bool code_is_200;
    /* the entry and the label under way */
    bool service_fits, type_fits, time_fits, labels_fit;
    uint64_t labels_seen; /* a bit each */
    char label_key[PROFEFE_LIST_TEXT_MAX + 1], label_value[PROFEFE_LIST_TEXT_MAX + 1];
    /* the JSON under way */
    unsigned state;
    unsigned depth;
    struct profefe_list_level {
        enum profefe_list_role role;
        bool is_object;
        char field; /* of the member under way, see field_of() */
    } levels[PROFEFE_LIST_DEPTH_MAX];
    char text[PROFEFE_LIST_TEXT_MAX + 1]; /* of the string or number under way */
    size_t text_len;                      /* over PROFEFE_LIST_TEXT_MAX: it did not fit */
    unsigned hex_digits;
    uint32_t unit, high_surrogate;
};

void profefe_list_init(struct profefe_list *list, const struct profefe_wanted *wanted);

/* The next bytes of the reply's body, in pieces of any size. */
enum profefe_list_verdict profefe_list_feed(struct profefe_list *list, const char *bytes, size_t len);

#endif
