/* /status for programs: what status_page_write tells, as one JSON object. Keys are only ever added.
 *
 *   {"version", "started", "idle", "problems": [], "warnings": [], "start_failing_since", "start_error"
 *    and, once it works:
 *    "service", "instance", "pod_ip", "labels": {KEY: VALUE}, "collector" or "output_dir",
 *    "targets": [{"name", "url", "types": [{"type", "every_seconds", "seconds"?, "last_success", "last_result",
 *                                           "last_error", "none_since", "failures", "results": {RESULT: N}, "running",
 *                                           "next_seconds"?}]}],
 *    "spool": {"directory", "profiles", "bytes", "limit_bytes", "taken", "in_memory_since", "directory_error",
 *              "dropped": {REASON: N}},
 *    "push": {"results": {RESULT: N}, "stored_bytes", "last_stored", "failures", "failing_since", "last_error"}}
 *
 * pod_ip is null where it is not known. Times are RFC 3339 in UTC; null = never. last_result is null before the first
 * run, last_error null after a good one; results holds those that occurred.
 */
#ifndef PROFEFE_AGENT_STATUS_JSON_H
#define PROFEFE_AGENT_STATUS_JSON_H

#include "agent/view.h"

void status_json_write(struct buf *out, const struct view *view);

#endif
