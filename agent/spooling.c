#include "agent/spooling.h"

#include "agent/engine.h"

static const char cannot_open[] = "spool directory cannot be opened now, profiles wait in memory";

void spooling_init(struct spooling *spooling, struct loop *loop, const struct options *options, loop_timer_cb *again,
                   void *ctx)
{
    *spooling = (struct spooling){.options = options};
    attempt_init(&spooling->directory, loop, &options->gather, again, ctx);
}

int spooling_open(struct spooling *spooling, bool may_stand_in, struct err *err)
{
    struct err why;
    if (spooling->options->spool_dir == NULL || !may_stand_in)
        return engine_open_spool(spooling->options, &spooling->spool, err);
    if (engine_open_spool(spooling->options, &spooling->spool, &why) == 0)
        return 0;
    int rc = spool_new_memory(spooling->options->stand_in_bytes, &spooling->spool, err);
    if (rc == 0)
        attempt_fail(&spooling->directory, cannot_open, &why);
    return rc;
}

void spooling_close(struct spooling *spooling)
{
    attempt_give_up(&spooling->directory);
    spooling->spool = spool_free(spooling->spool);
    spooling->stand_in = spool_free(spooling->stand_in);
}

bool spooling_try_directory(struct spooling *spooling)
{
    struct spool *opened = NULL;
    struct err err;
    if (engine_open_spool(spooling->options, &opened, &err) < 0) {
        attempt_fail(&spooling->directory, cannot_open, &err);
        return false;
    }
    attempt_succeed(&spooling->directory);
    spooling->stand_in = spooling->spool;
    spooling->spool = opened;
    return true;
}

void spooling_watch(struct spooling *spooling)
{
    const struct spool_stats *stats = spool_get_stats(spooling->spool);
    if (stats->recreated != spooling->recreated)
        log_warn("spool directory was gone, made anew", LOG_STR("directory", spooling->options->spool_dir),
                 LOG_I64("lost", stats->dropped[SPOOL_DROP_ERROR]));
    spooling->recreated = stats->recreated;
}

uint64_t spooling_bytes(const struct spooling *spooling)
{
    uint64_t stand_in = spooling->stand_in != NULL ? spool_get_stats(spooling->stand_in)->bytes : 0;
    return spool_get_stats(spooling->spool)->bytes + stand_in;
}

uint64_t spooling_read_account(const struct spooling *spooling, const struct push_stats *push, struct account *ret)
{
    account_read(ret, spool_get_stats(spooling->spool), push);
    bool in_memory = spooling->options->spool_dir == NULL || spooling->directory.failures > 0;
    uint64_t on_disk = in_memory ? 0 : ret->waiting;
    if (spooling->stand_in != NULL)
        account_add(ret, spool_get_stats(spooling->stand_in));
    return ret->waiting - on_disk;
}
