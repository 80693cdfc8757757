/* address: where a server listens. */
#include "unit.h"

#include "common/values/address.h"

#include <arpa/inet.h>

/* "HOST PORT" of what was parsed. */
static const char *shown(const struct address *address, char out[static 80])
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    memcpy(&v6, &address->storage, sizeof(v6));
    memcpy(&v4, &address->storage, sizeof(v4));
    if (address->storage.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
    else
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
    snprintf(out, 80, "%s %u%s", host, ntohs(v4.sin_port), address->any ? " any" : "");
    return out;
}

static void good_ones(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {":8443", ":: 8443 any"},
        {":0", ":: 0 any"},
        {"127.0.0.1:65535", "127.0.0.1 65535"},
        {"localhost:1", "127.0.0.1 1"},
        {"0.0.0.0:1", "0.0.0.0 1"},
        {"[::1]:80", "::1 80"},
        {"[::]:80", ":: 80"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[80];
        struct address address;
        struct err err = err_untouched;
        expect_success(rows[i].text, address_parse(span_of(rows[i].text), &address, &err), &err);
        expect_text(rows[i].text, rows[i].expected, shown(&address, text));
        assert_int_equal(address.storage.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                               : sizeof(struct sockaddr_in),
                         address.len);
    }
}

static void bad_ones(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "", ":", "8443", "none", ":65536", ":-1", ": 1", "localhost", "example.com:80", "127.0.0:80", "127.0.0.1.1:80",
        "::1:80", "[::1]", "[::1:80", "[]:80", "[127.0.0.1]:80", "[::1%lo]:80", "127.0.0.1 :80", "LOCALHOST:80",
        "1111111111111111111111111111111111111111111111111111:80",
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct address address = {.len = 77};
        struct err err = err_untouched;
        expect_failure(rows[i], -EINVAL, "expected [HOST]:PORT with an IP address",
                       address_parse(span_of(rows[i]), &address, &err), &err);
        assert_int_equal(77, address.len);
    }
}

static void all_of_ipv4_where_ipv6_is_off(void **state)
{
    (void)state;
    char text[80];
    struct address any;
    assert_int_equal(0, address_parse(span_of(":8443"), &any, NULL));
    struct address v4 = address_any_ipv4(&any);
    assert_string_equal("0.0.0.0 8443 any", shown(&v4, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),
        cmocka_unit_test(bad_ones),
        cmocka_unit_test(all_of_ipv4_where_ipv6_is_off),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
