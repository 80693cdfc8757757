/* What a request says, said to libcurl: its rules, URL, headers and certificates. */
#ifndef PROFEFE_HTTPC_SETUP_H
#define PROFEFE_HTTPC_SETUP_H

#include "common/http/httpc_transfer.h"

/* In a function that returns CURLcode. */
#define HTTPC_SET(easy, option, value)                                                             \
    do {                                                                                           \
        CURLcode set_code_ = curl_easy_setopt(easy, option, value);                                \
        if (set_code_ != CURLE_OK)                                                                 \
            return set_code_;                                                                      \
    } while (0)

/* transfer->easy is there. fresh_dns: kept answers of the resolver are not to be used. Errors as of httpc_start. */
int httpc_setup(struct httpc_transfer *transfer, const struct httpc_request *request, const char *user_agent,
                bool fresh_dns, struct err *err);

/* -ENOMEM or -EINVAL, for an option that libcurl refused. */
int httpc_setup_error(CURLcode code, struct err *err);

#endif
