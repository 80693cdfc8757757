#include "common/pprof/pprof_ids.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_IDS = PPROF_IDS_PAGE_BYTES * 8 };

static const char *const set_names[PPROF_IDS_SET_COUNT] = {
    [PPROF_IDS_MAPPINGS] = "mappings", [PPROF_IDS_LOCATIONS] = "locations", [PPROF_IDS_FUNCTIONS] = "functions",
    [PPROF_IDS_SAMPLED] = "sample",    [PPROF_IDS_IN_LINES] = "line",
};

void pprof_ids_init(struct pprof_ids *ids)
{
    *ids = (struct pprof_ids){0};
}

void pprof_ids_done(struct pprof_ids *ids)
{
    for (unsigned set = 0; set < PPROF_IDS_SET_COUNT; set++) {
        for (unsigned i = 0; i < PPROF_IDS_PAGES; i++)
            free(ids->pages[set][i]);
    }
    pprof_ids_init(ids);
}

/* The page of an id; NULL = it cannot be held. */
static uint8_t *take_page(struct pprof_ids *ids, enum pprof_id_set set, uint64_t id)
{
    if (id >= PPROF_IDS_MAX)
        return NULL;
    uint8_t **page = &ids->pages[set][id / PAGE_IDS];
    if (*page == NULL)
        *page = calloc(1, PPROF_IDS_PAGE_BYTES);
    return *page;
}

void pprof_ids_add(struct pprof_ids *ids, enum pprof_id_set set, uint64_t id)
{
    if (id >= PPROF_IDS_MAX && set > PPROF_IDS_FUNCTIONS) {
        ids->beyond[set] = ids->beyond[set] != 0 ? ids->beyond[set] : id;
        return;
    }
    uint8_t *page = ids->unchecked ? NULL : take_page(ids, set, id);
    if (page == NULL) {
        ids->unchecked = true;
        return;
    }
    uint8_t *byte = &page[id % PAGE_IDS / 8], bit = (uint8_t)(1U << id % 8);
    if ((*byte & bit) != 0 && ids->doubled[set] == 0)
        ids->doubled[set] = id;
    *byte |= bit;
}

/* The smallest id of one set that another lacks; 0 = none. */
static uint64_t find_missing(uint8_t *const *wanted, uint8_t *const *there)
{
    for (unsigned id = 0; id < PPROF_IDS_MAX; id += wanted[id / PAGE_IDS] == NULL ? PAGE_IDS : 8) {
        unsigned page = id / PAGE_IDS, byte = id % PAGE_IDS / 8;
        if (wanted[page] == NULL)
            continue;
        unsigned bits = wanted[page][byte] & ~(there[page] != NULL ? there[page][byte] : 0U);
        if (bits != 0)
            return id + (unsigned)__builtin_ctz(bits);
    }
    return 0;
}

static bool has_each(const struct pprof_ids *ids, enum pprof_id_set wanted, enum pprof_id_set there,
                     char reason[static PPROF_REASON_MAX])
{
    uint64_t missing = find_missing(ids->pages[wanted], ids->pages[there]);
    missing = missing != 0 ? missing : ids->beyond[wanted]; /* nothing there is as large: it would be unchecked */
    if (missing == 0)
        return true;
    snprintf(reason, PPROF_REASON_MAX, "a %s refers to id %llu, which none of the %s has", set_names[wanted],
             (unsigned long long)missing, set_names[there]);
    return false;
}

bool pprof_ids_are_right(const struct pprof_ids *ids, char reason[static PPROF_REASON_MAX])
{
    if (ids->unchecked)
        return true;
    for (enum pprof_id_set set = PPROF_IDS_MAPPINGS; set <= PPROF_IDS_FUNCTIONS; set++) {
        if (ids->doubled[set] == 0)
            continue;
        snprintf(reason, PPROF_REASON_MAX, "two %s have the id %llu", set_names[set],
                 (unsigned long long)ids->doubled[set]);
        return false;
    }
    return has_each(ids, PPROF_IDS_SAMPLED, PPROF_IDS_LOCATIONS, reason) &&
           has_each(ids, PPROF_IDS_IN_LINES, PPROF_IDS_FUNCTIONS, reason);
}
