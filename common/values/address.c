#include "common/values/address.h"

#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void set_ipv4(struct address *address, struct in_addr host, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
    memcpy(&address->storage, &v4, sizeof(v4));
    address->len = sizeof(v4);
}

static void set_ipv6(struct address *address, struct in6_addr host, uint16_t port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = host};
    memcpy(&address->storage, &v6, sizeof(v6));
    address->len = sizeof(v6);
}

static bool parse_host(struct span host, uint16_t port, struct address *ret)
{
    struct in_addr v4 = {.s_addr = htonl(INADDR_ANY)};
    struct in6_addr v6 = IN6ADDR_ANY_INIT;
    char text[INET6_ADDRSTRLEN];
    bool bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = (struct span){host.ptr + 1, host.len - 2};
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (bracketed) {
        if (inet_pton(AF_INET6, text, &v6) != 1)
            return false;
        set_ipv6(ret, v6, port);
        return true;
    }
    ret->any = host.len == 0;
    if (ret->any) {
        set_ipv6(ret, v6, port);
        return true;
    }
    if (strcmp(text, "localhost") == 0)
        v4.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, text, &v4) != 1)
        return false;
    set_ipv4(ret, v4, port);
    return true;
}

int address_parse(struct span text, struct address *ret, struct err *err)
{
    struct quoted q;
    uint64_t port = 0;
    struct address address = {.any = false};
    const char *colon = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;
    size_t host_len = colon != NULL ? (size_t)(colon - text.ptr) : 0;
    if (colon == NULL ||
        number_parse_u64((struct span){colon + 1, text.len - host_len - 1}, 0, UINT16_MAX, &port, NULL) < 0 ||
        !parse_host((struct span){text.ptr, host_len}, (uint16_t)port, &address))
        return err_set(
            err, EINVAL,
            "expected [HOST]:PORT with an IP address (IPv6 in brackets) or nothing as host and a port of 0 to "
            "65535, got %s",
            quote_bytes(&q, text.ptr, text.len));
    *ret = address;
    return 0;
}

struct address address_any_ipv4(const struct address *any)
{
    struct sockaddr_in6 v6;
    struct address address = {.any = true};
    memcpy(&v6, &any->storage, sizeof(v6));
    set_ipv4(&address, (struct in_addr){.s_addr = htonl(INADDR_ANY)}, ntohs(v6.sin6_port));
    return address;
}
