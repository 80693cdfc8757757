#include "common/http/httpc_memory.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong failures;
static unsigned users;

static void *counted(void *memory)
{
    if (memory == NULL)
        atomic_fetch_add(&failures, 1);
    return memory;
}

static void *curl_malloc(size_t size)
{
    return counted(malloc(size));
}

static void *curl_calloc(size_t n, size_t size)
{
    return counted(calloc(n, size));
}

static void *curl_realloc(void *old, size_t size)
{
    return counted(realloc(old, size));
}

static char *curl_strdup(const char *text)
{
    return counted(strdup(text));
}

int httpc_memory_ref(struct err *err)
{
    if (users == 0 && curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc, curl_strdup,
                                           curl_calloc) != CURLE_OK)
        return err_set(err, ENOMEM, "HTTP client: libcurl did not start");
    users++;
    return 0;
}

void httpc_memory_unref(void)
{
    if (--users == 0)
        curl_global_cleanup();
}

unsigned long httpc_memory_failures(void)
{
    return atomic_load(&failures);
}
