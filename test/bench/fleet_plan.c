/* fleet_plan PODS STARTED_WITHIN_MS FROM_MS TO_MS: when a fleet pushes, by the agent's own plan and its default
 * settings.
 *
 * All pods start within the first STARTED_WITHIN_MS, each with a uid of its own, and each takes its profiles one after
 * the other. Prints a line `MILLISECOND TYPE POD` a push between FROM and TO, pod after pod. A push follows at once on
 * its profile. Nothing is random: the same arguments give the same lines. */
#include "common/base/duration.h"
#include "common/base/hash.h"
#include "common/base/span.h"
#include "common/gather/plan.h"
#include "common/settings/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PODS_MAX = 1000000,
    TIME_MAX_MS = 7 * 24 * 3600 * 1000,
    UID_SIZE = 64,
    SALT_START = 1,
    SALT_UID = 2,
};

struct fleet {
    uint64_t pods;
    int64_t started_within_ms;
    int64_t from_ms;
    int64_t to_ms;
    struct profile_types types;
    struct plan_options plan;
};

_Noreturn static void fail(const char *what, const char *why)
{
    fprintf(stderr, "fleet_plan: %s: %s\n", what, why);
    exit(1);
}

static uint64_t read_number(const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value > max)
        fail(text, "expected a whole number in range");
    return value;
}

static struct span default_of(enum setting_id id)
{
    const char *text = settings_table[id].default_text;
    return (struct span){text, strlen(text)};
}

static int64_t default_ms(enum setting_id id)
{
    int64_t value;
    struct err err;
    const struct setting *setting = &settings_table[id];
    if (duration_parse(default_of(id), setting->min, setting->max, &value, &err) < 0)
        fail(setting->name, err.text);
    return value;
}

static void read_defaults(struct fleet *fleet)
{
    static struct warnings warnings;
    struct err err;
    const struct profile_types_defaults defaults = {
        .interval_ms = default_ms(SETTING_INTERVAL),
        .cpu_seconds_ms =
            (int64_t)read_number(settings_table[SETTING_CPU_SECONDS].default_text, PROFILE_TYPE_SECONDS_MAX_MS / 1000) *
            1000,
        .grace_ms = -1,
    };
    if (profile_types_parse(default_of(SETTING_TYPES), &defaults, &fleet->types, &warnings, &err) < 0)
        fail("types", err.text);
    fleet->plan = (struct plan_options){
        .targets = 1,
        .types = &fleet->types,
        .first_within_ms = default_ms(SETTING_FIRST_WITHIN),
        .missing_retry_ms = default_ms(SETTING_MISSING_RETRY),
        .interval_ms = defaults.interval_ms,
        .sampling = PLAN_SAMPLING_ALL,
    };
}

/* As Kubernetes writes them, but not random. */
static void make_uid(char uid[UID_SIZE], uint64_t pod)
{
    uint64_t high = hash_text("fleet", 2 * pod + SALT_UID * (uint64_t)PODS_MAX * 2);
    uint64_t low = hash_text("fleet", 2 * pod + 1 + SALT_UID * (uint64_t)PODS_MAX * 2);
    snprintf(uid, UID_SIZE, "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-8%03" PRIx64 "-%012" PRIx64, high >> 32,
             high >> 16 & 0xFFFF, high & 0xFFF, low >> 52, low & 0xFFFFFFFFFFFF);
}

static void run_pod(struct fleet *fleet, uint64_t pod)
{
    static struct plan plan; /* tens of kilobytes */
    char uid[UID_SIZE];
    make_uid(uid, pod);
    fleet->plan.seed = uid;
    int64_t now_ms = hash_to_range(hash_text(uid, SALT_START), fleet->started_within_ms + 1);
    plan_init(&plan, &fleet->plan, now_ms);
    while (now_ms < fleet->to_ms) {
        int64_t wait_ms = 0;
        struct plan_job *job = plan_next(&plan, now_ms, &wait_ms);
        if (job == NULL) {
            if (wait_ms < 0)
                return;
            now_ms += wait_ms;
            continue;
        }
        int64_t started_ms = now_ms;
        now_ms += job->seconds_ms;
        if (now_ms >= fleet->from_ms && now_ms < fleet->to_ms)
            printf("%" PRId64 " %s %" PRIu64 "\n", now_ms, job->type->name, pod);
        plan_finish(&plan, job, PLAN_DONE, started_ms, now_ms);
    }
}

int main(int argc, char **argv)
{
    static struct fleet fleet;
    if (argc != 5)
        fail("usage", "PODS STARTED_WITHIN_MS FROM_MS TO_MS");
    fleet.pods = read_number(argv[1], PODS_MAX);
    fleet.started_within_ms = (int64_t)read_number(argv[2], TIME_MAX_MS);
    fleet.from_ms = (int64_t)read_number(argv[3], TIME_MAX_MS);
    fleet.to_ms = (int64_t)read_number(argv[4], TIME_MAX_MS);
    read_defaults(&fleet);
    for (uint64_t pod = 0; pod < fleet.pods; pod++)
        run_pod(&fleet, pod);
    return fflush(stdout) == 0 ? 0 : 1;
}
