/* The memory limit of this container, as the kernel sees it. */
#ifndef PROFEFE_AGENT_CGROUP_H
#define PROFEFE_AGENT_CGROUP_H

#include <stdint.h>

/* Bytes from cgroup v2's memory.max or v1's memory.limit_in_bytes, below root ("/sys/fs/cgroup"); 0 = none or
 * unknown. */
uint64_t cgroup_memory_limit(const char *root);

#endif
