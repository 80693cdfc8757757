/* The ids of one profile: each mapping, location and function has one of its own, samples refer to locations, lines to
 * functions. Readers refuse a profile with an id twice, or with a reference to nothing (google/pprof, CheckValid in
 * profile.go; a location whose mapping is missing has none for them, and is let pass).
 *
 * Filled as the walk goes by (pprof_check_ids), where references may come before what they refer to. A bit an id, in
 * pages that are taken when an id of theirs comes: 20 KB for most profiles, PPROF_IDS_MAX / 8 bytes for each of five
 * sets at most. Things with ids at or above the ceiling (some producers use addresses or hashes), or no memory for a
 * page, leave the profile unchecked: then nothing is said about it.
 */
#ifndef PROFEFE_PPROF_IDS_H
#define PROFEFE_PPROF_IDS_H

#include "common/base/marks.h"
#include "common/pprof/pprof.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PPROF_IDS_PAGE_BYTES = 4096,
    PPROF_IDS_PAGES = 16,
    /* Producers count from 1, and a location takes some 20 bytes: 10 MB of locations alone. At most 320 KB. */
    PPROF_IDS_MAX = PPROF_IDS_PAGES * PPROF_IDS_PAGE_BYTES * 8,
};

enum pprof_id_set {
    PPROF_IDS_MAPPINGS,
    PPROF_IDS_LOCATIONS,
    PPROF_IDS_FUNCTIONS,
    PPROF_IDS_SAMPLED,   /* locations referred to by samples */
    PPROF_IDS_IN_LINES,  /* functions referred to by lines */
    PPROF_IDS_SET_COUNT,
};

struct pprof_ids {
    uint8_t *pages[PPROF_IDS_SET_COUNT][PPROF_IDS_PAGES]; /* NULL = no id in it */
    uint64_t doubled[PPROF_IDS_SET_COUNT]; /* the first id that came twice; 0 = none */
    uint64_t beyond[PPROF_IDS_SET_COUNT]; /* the first id referred to at or above the ceiling; 0 = none */
    bool unchecked;
};

void pprof_ids_init(struct pprof_ids *ids);
void pprof_ids_done(struct pprof_ids *ids); /* may be called again */

/* id: not 0. References may be added as often as they come. */
void pprof_ids_add(struct pprof_ids *ids, enum pprof_id_set set, uint64_t id);

/* Once all are added: false with the first fault in words. True also where it is unchecked. */
MUST_CHECK bool pprof_ids_are_right(const struct pprof_ids *ids, char reason[static PPROF_REASON_MAX]);

#endif
