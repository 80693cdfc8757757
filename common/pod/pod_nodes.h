/* Can a pod come to a node that runs the agent's image? Judged by what the pod itself asks of its nodes: its os,
 * nodeSelector and the required node affinity (In, NotIn, and whether Exists, Gt and Lt want a label that only Windows
 * nodes have), with the labels that tell a node's system or architecture.
 *
 * A container whose image does not run keeps a native pod from starting, for ever. So a pod is skipped when *every*
 * node that it lets in is foreign; one that says nothing, or leaves a choice, is not.
 */
#ifndef PROFEFE_POD_NODES_H
#define PROFEFE_POD_NODES_H

#include "common/base/span.h"
#include "common/pod/pod.h"

enum pod_nodes {
    POD_NODES_OURS,         /* as far as the pod says */
    POD_NODES_WINDOWS,      /* none of them is a Linux node */
    POD_NODES_ARCHITECTURE, /* those that are Linux nodes have another architecture */
};

enum { POD_NODES_ARCHITECTURES_MAX = 16 }; /* of a list; others do not count, since each costs a look at all terms */

/* `architectures`: a comma-separated list, such as amd64,arm64; without a word in it any will do. */
enum pod_nodes pod_nodes_judge(const struct pod *pod, struct span architectures);

#endif
