#include "common/push/delivery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const delivery_result_names[DELIVERY_RESULT_COUNT] = {
    [DELIVERY_STORED] = "stored", [DELIVERY_FOUND] = "found", [DELIVERY_REFUSED] = "refused",
    [DELIVERY_TOO_LARGE] = "too-large", [DELIVERY_LATER] = "later", [DELIVERY_WRONG] = "wrong-collector",
    [DELIVERY_NETWORK] = "network", [DELIVERY_UNSURE] = "unsure", [DELIVERY_WRITE] = "write-failed",
    [DELIVERY_NO_LENGTH] = "no-length", [DELIVERY_GONE] = "evicted",
};

void delivery_end_set(struct delivery_end *end, enum delivery_result result, const char *words)
{
    *end = (struct delivery_end){.result = result, .retry_after_ms = -1};
    snprintf(end->words, sizeof(end->words), "%s", words);
}

void delivery_end_set_unread(struct delivery_end *end, int code)
{
    delivery_end_set(end, code == -ESTALE ? DELIVERY_GONE : DELIVERY_NETWORK, "");
    snprintf(end->words, sizeof(end->words), "cannot read the spool: %s", strerror(-code));
}

struct delivery *delivery_free(struct delivery *delivery)
{
    if (delivery == NULL)
        return NULL;
    delivery->ops->cancel(delivery);
    delivery->ops->release(delivery);
    free(delivery);
    return NULL;
}

void delivery_cleanup(struct delivery **delivery)
{
    delivery_free(*delivery);
}
