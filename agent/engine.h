/* What the agent's profiles run on, as a daemon or once: opened here, and said in the log. */
#ifndef PROFEFE_AGENT_ENGINE_H
#define PROFEFE_AGENT_ENGINE_H

#include "agent/options.h"
#include "common/gather/pipeline.h"

/* The loop is there; client and credentials come. On failure engine_close cleans up what there is. */
int engine_open(struct pipeline_base *engine, const struct options *options, struct err *err);
void engine_close(struct pipeline_base *engine); /* neither the loop nor the spool */

/* In memory, or what the directory holds already. */
int engine_open_spool(const struct options *options, struct spool **ret, struct err *err);

#endif
