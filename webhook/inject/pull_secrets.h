/* Secrets with which the kubelet pulls the agent's image: [inject] image-pull-secrets, beside those of the pod.
 *
 * A pod that names none has got those of its ServiceAccount before the webhooks are called, and they are kept. A Secret
 * that the namespace lacks does no harm: the kubelet tries those that it finds.
 */
#ifndef PROFEFE_PULL_SECRETS_H
#define PROFEFE_PULL_SECRETS_H

#include "common/base/span.h"
#include "common/pod/pod.h"
#include "webhook/inject/patch.h"

/* Adds to the pod's imagePullSecrets what of `wanted`, a comma-separated list of names, it lacks. */
void pull_secrets_write(struct patch *patch, const struct pod *pod, struct span wanted);

#endif
