/* What the injected agent is told: PROFEFE_AGENT_… variables, from annotations, configuration and the pod itself.
 *
 * A variable that would only repeat the agent's built-in default is left out. Values are plain text here; the container
 * writes them so that Kubernetes expands nothing in them.
 */
#ifndef PROFEFE_ENVIRONMENT_H
#define PROFEFE_ENVIRONMENT_H

#include "common/pod/annotations.h"
#include "webhook/inject/container.h"
#include "common/pod/identity.h"
#include "common/pod/ports.h"

enum {
    ENVIRONMENT_NUMBER_MAX = 24, /* a 64-bit number with its sign */
};

/* The texts that were put together; the container borrows them. */
struct environment {
    struct buf targets, labels;
    char grace[ENVIRONMENT_NUMBER_MAX];
    char listen[ENVIRONMENT_NUMBER_MAX];
    char spool_bytes[ENVIRONMENT_NUMBER_MAX];
};

/* Allocates nothing. */
void environment_init(struct environment *environment);
void environment_done(struct environment *environment); /* usable with CLEANUP */

struct environment_source {
    const struct pod *pod;
    const struct annotations *asked;
    const struct ports *ports;
    const struct identity *identity;
};

/* Adds the variables to container->env; all else in it is set before. -ENOMEM only. Warnings: labels left out; what the
 * agent will make of `types`; no collector. */
int environment_fill(struct environment *environment, const struct environment_source *from,
                     struct container *container, struct warnings *warnings);

#endif
