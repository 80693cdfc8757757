/* The injected container as JSON, as every cluster admits it and no app is harmed by it.
 *
 * What is the same for every pod is written here, once: restricted Pod Security with every default untouched, and
 * identity by downward API.
 */
#ifndef PROFEFE_AGENT_CONTAINER_H
#define PROFEFE_AGENT_CONTAINER_H

#include "common/base/json_text.h"
#include "common/base/span.h"
#include "webhook/inject/resources.h"
#include "webhook/inject/volumes.h"

#define AGENT_CONTAINER_PORT_NAME "profefe-agent" /* `metrics` would catch other people's Services (seen) */

#define AGENT_CONTAINER_USER "65532" /* USER of the image; said in the pod only where the pod says root */

enum {
    AGENT_CONTAINER_ENV_MAX = 32, /* the settings that agent and webhook share, and a few of our own */
};

struct agent_container {
    struct span image;
    struct span pull_policy;  /* ptr NULL = Kubernetes' own default */
    bool native;              /* an init container with restartPolicy Always */
    bool set_user;            /* the pod's securityContext says runAsUser 0 */
    bool set_apparmor;        /* the pod's securityContext names an AppArmor profile of the app's */
    uint16_t port;
    const struct volumes *volumes;
    struct resources resources;
    bool full;                /* a variable found no room: the container must not be used */
    unsigned env_count;
    struct agent_container_env {
        const char *name;
        struct span value;    /* literal: Kubernetes will not expand $(…) in it */
    } env[AGENT_CONTAINER_ENV_MAX];
};

/* An empty value is left out. More than AGENT_CONTAINER_ENV_MAX are our bug, which `full` tells. */
void agent_container_add_env(struct agent_container *container, const char *name, struct span value);

/* Writes the JSON object; failure is sticky in its buffer. */
void agent_container_write(struct json_text *json, const struct agent_container *container);

#endif
