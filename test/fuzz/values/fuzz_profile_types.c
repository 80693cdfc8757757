/* Any text as the setting `types`. Whether it is an error must not depend on the defaults; what is taken keeps its
 * ranges: whole seconds for cpu, over before the next, within half of the grace period. */
#include "fuzz.h"

#include "common/values/profile_types.h"

static void check_type(const struct profile_type *type, const struct profile_types_defaults *defaults)
{
    must(strnlen(type->name, sizeof(type->name)) < sizeof(type->name) && type->name[0] != '\0', "expected a name");
    must(type->every_ms >= PROFILE_TYPE_EVERY_MIN_MS && type->every_ms <= PROFILE_TYPE_EVERY_MAX_MS,
         "expected EVERY in its range");
    must(type->seconds_ms == 0 || profile_kinds[type->kind].timed, "expected SECONDS only for timed types");
    must(type->seconds_ms > 0 || !profile_kinds[type->kind].timed || type->kind == PROFILE_OTHER, "expected SECONDS");
    if (type->seconds_ms == 0)
        return;
    must(type->seconds_ms >= PROFILE_TYPE_SECONDS_MIN_MS && type->seconds_ms <= PROFILE_TYPE_SECONDS_MAX_MS,
         "expected SECONDS in its range");
    must(type->seconds_ms < type->every_ms, "expected SECONDS less than EVERY");
    if (type->kind == PROFILE_CPU)
        must(type->seconds_ms % 1000 == 0, "expected whole seconds of cpu");
    if (defaults->grace_ms >= 2000)
        must(type->seconds_ms <= defaults->grace_ms / 2, "expected at most half of the grace period");
}

static int parse(struct span text, const struct profile_types_defaults *defaults)
{
    struct profile_types types = {.count = 77};
    struct warnings warnings = {0};
    struct err err = {0};
    int rc = profile_types_parse(text, defaults, &types, &warnings, &err);
    must_be_told(rc, &err);
    for (unsigned i = 0; i < warnings_shown(&warnings); i++)
        must_be_printable(warnings_text(&warnings, i));
    if (rc < 0) {
        must(types.count == 77, "expected a failure to leave the output alone");
        return rc;
    }
    must(types.count > 0 && types.count <= PROFILE_TYPES_MAX, "expected 1 to 16 types");
    for (unsigned i = 0; i < types.count; i++) {
        check_type(&types.items[i], defaults);
        for (unsigned k = 0; k < i; k++)
            must(strcmp(types.items[i].name, types.items[k].name) != 0, "expected each type once");
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct profile_types_defaults defaults[] = {
        {.interval_ms = 60000, .cpu_seconds_ms = 10000, .grace_ms = -1},
        {.interval_ms = 1000, .cpu_seconds_ms = 300000, .grace_ms = 0},
        {.interval_ms = 86400000, .cpu_seconds_ms = 1000, .grace_ms = 3000},
        {.interval_ms = 5500, .cpu_seconds_ms = 10000, .grace_ms = INT64_C(2147483647000)},
    };
    if (size > FUZZ_SIZE_MAX)
        return 0;
    struct span text = fuzz_copy(data, size);
    int rc = parse(text, &defaults[0]);
    for (size_t i = 1; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        must(parse(text, &defaults[i]) == rc, "expected the same error whatever the defaults");
    free((char *)text.ptr);
    return 0;
}
