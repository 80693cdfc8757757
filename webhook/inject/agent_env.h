/* What the injected agent is told: PROFEFE_AGENT_… variables, from annotations, configuration and the pod itself.
 *
 * A variable that would only repeat the agent's built-in default is left out. Values are plain text here; the container
 * writes them so that Kubernetes expands nothing in them.
 */
#ifndef PROFEFE_AGENT_ENV_H
#define PROFEFE_AGENT_ENV_H

#include "common/pod/annotations.h"
#include "common/pod/ports.h"
#include "common/pod/service_name.h"
#include "webhook/inject/agent_container.h"

enum {
    AGENT_ENV_NUMBER_MAX = 24, /* a 64-bit number with its sign */
};

/* The texts that were put together; the container borrows them. */
struct agent_env {
    struct buf targets, labels;
    char grace[AGENT_ENV_NUMBER_MAX];
    char listen[AGENT_ENV_NUMBER_MAX];
    char spool_bytes[AGENT_ENV_NUMBER_MAX];
};

/* Allocates nothing. */
void agent_env_init(struct agent_env *environment);
void agent_env_done(struct agent_env *environment); /* usable with CLEANUP */

struct agent_env_source {
    const struct pod *pod;
    const struct annotations *asked;
    const struct ports *ports;
    const struct service_name *service;
};

/* Adds the variables to container->env; all else in it is set before. -ENOMEM only. Warnings: labels left out; what the
 * agent will make of `types`; no collector. */
int agent_env_fill(struct agent_env *environment, const struct agent_env_source *from,
                     struct agent_container *container, struct warnings *warnings);

#endif
