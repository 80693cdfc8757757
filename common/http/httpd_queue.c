#include "common/http/httpd_queue.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int httpd_queue_init(struct httpd_queue *queue, size_t max, struct err *err)
{
    struct httpd_newcomer *newcomers = calloc(max > 0 ? max : 1, sizeof(newcomers[0]));
    if (newcomers == NULL)
        return err_errno(err, ENOMEM, "HTTP server");
    *queue = (struct httpd_queue){.newcomers = newcomers, .max = max};
    return 0;
}

void httpd_queue_done(struct httpd_queue *queue)
{
    while (queue->count > 0)
        close(httpd_queue_take(queue, queue->count - 1).fd);
    free(queue->newcomers);
    *queue = (struct httpd_queue){.newcomers = NULL};
}

bool httpd_queue_add(struct httpd_queue *queue, const struct httpd_newcomer *newcomer)
{
    if (queue->count == queue->max)
        return false;
    queue->newcomers[queue->count++] = *newcomer;
    return true;
}

struct httpd_newcomer httpd_queue_take(struct httpd_queue *queue, size_t index)
{
    struct httpd_newcomer taken = queue->newcomers[index];
    queue->count--;
    memmove(queue->newcomers + index, queue->newcomers + index + 1,
            (queue->count - index) * sizeof(queue->newcomers[0]));
    return taken;
}
