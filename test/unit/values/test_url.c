/* url: absolute http and https URLs without userinfo, query or fragment. */
#include "unit.h"

#include "common/values/url.h"

static void good_urls_are_cut_into_their_parts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool https;
        const char *host;
        uint16_t port;
        const char *path;
    } rows[] = {
        {"http://h", false, "h", 80, ""},
        {"https://h", true, "h", 443, ""},
        {"HTTP://H:1", false, "H", 1, ""},
        {"HttpS://h/", true, "h", 443, ""},
        {"http://127.0.0.1:6060/debug/pprof", false, "127.0.0.1", 6060, "/debug/pprof"},
        {"http://127.0.0.1:6060/debug/pprof///", false, "127.0.0.1", 6060, "/debug/pprof"},
        {"http://h:65535//a", false, "h", 65535, "//a"},
        {"http://h:00080", false, "h", 80, ""},
        {"http://[::1]:10100/x", false, "::1", 10100, "/x"},
        {"http://[fe80::1]", false, "fe80::1", 80, ""},
        {"http://[::ffff:10.0.0.1]:1", false, "::ffff:10.0.0.1", 1, ""},
        {"http://[1:2:3:4:5:6:7:8]", false, "1:2:3:4:5:6:7:8", 80, ""},
        {"http://profefe.profefe-system.svc.cluster.local.:10100", false, "profefe.profefe-system.svc.cluster.local.",
         10100, ""},
        {"http://a_b.c-d/%41%ff", false, "a_b.c-d", 80, "/%41%ff"},
        {"http://h/-._~!$&'()*+;=:@", false, "h", 80, "/-._~!$&'()*+;=:@"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        struct url url = {.port = 4711};
        int rc = url_parse(span_of(rows[i].text), &url, &err);
        expect_success(rows[i].text, rc, &err);
        expect_number(rows[i].text, rows[i].https, url.https);
        expect_number(rows[i].text, rows[i].port, url.port);
        expect_number(rows[i].text, true, span_equal(url.host, rows[i].host));
        expect_number(rows[i].text, true, span_equal(url.path, rows[i].path));
    }
}

static void loopback_is_told_by_its_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool expected;
    } rows[] = {
        {"https://localhost", true},
        {"https://LocalHost:6060/debug/pprof", true},
        {"https://127.0.0.1", true},
        {"https://127.255.255.254:1", true},
        {"https://[::1]:6060", true},
        {"https://[0:0:0:0:0:0:0:1]", true},
        {"https://localhost.", false},
        {"https://localhost.example.com", false},
        {"https://127.0.0.1.example.com", false},
        {"https://127.1", false}, /* whoever spells it so may get it verified */
        {"https://0.0.0.0", false},
        {"https://10.0.0.1", false},
        {"https://128.0.0.1", false},
        {"https://[::]", false},
        {"https://[::2]", false},
        {"https://[::ffff:127.0.0.1]", false},
        {"https://app", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct url url;
        assert_int_equal(0, url_parse(span_of(rows[i].text), &url, NULL));
        expect_number(rows[i].text, rows[i].expected, url_is_loopback(&url));
    }
}

static void bad_urls_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "begin with http"},
        {"h:6060", "begin with http"},
        {"http:/h", "begin with http"},
        {"ftp://h", "begin with http"},
        {" http://h", "begin with http"},
        {"tcp://10.96.0.1:10100", "begin with http"},
        {"http://", "host is missing"},
        {"http:///x", "host is missing"},
        {"http://:80", "host is missing"},
        {"http://[]", "host is missing"},
        {"http://[:]", "no IPv6 address"},
        {"http://[.]", "no IPv6 address"},
        {"http://[1.2.3.4]", "no IPv6 address"},
        {"http://[abcd]", "no IPv6 address"},
        {"http://[::1::]", "no IPv6 address"},
        {"http://[::12345]", "no IPv6 address"},
        {"http://[fe80::1%25eth0]", "no IPv6 address"},
        {"http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", "no IPv6 address"},
        {"http://[::1", "without its ]"},
        {"http://[::1]x", "after ]"},
        {"http://::1", "host is missing"},
        {"http://h:", "port is missing"},
        {"http://[::1]:", "port is missing"},
        {"http://h:0", "1 to 65535"},
        {"http://h:65536", "1 to 65535"},
        {"http://h:99999999999999999999", "1 to 65535"},
        {"http://h:80a", "1 to 65535"},
        {"http://h:-1", "1 to 65535"},
        {"http://h:1:2", "1 to 65535"},
        {"http://u@h", "no user"},
        {"http://u:p@h", "no user"},
        {"http://h?x", "no query"},
        {"http://h/?x", "no query"},
        {"http://h/a#b", "no query or fragment"},
        {"http://h#b", "no query or fragment"},
        {"http://h/a b", "cannot hold"},
        {"http://h/a,b", "cannot hold"},
        {"http://h/a\nb", "cannot hold"},
        {"http://h/\x7f", "cannot hold"},
        {"http://h/\xc3\xa4", "cannot hold"},
        {"http://h\xc3\xa4/", "cannot hold"},
        {"http://h h/", "cannot hold"},
        {"http://h,i/", "cannot hold"},
        {"http://h\\i/", "cannot hold"},
        {"http://h/%", "hexadecimal"},
        {"http://h/%4", "hexadecimal"},
        {"http://h/%4g", "hexadecimal"},
        {"http://h/%41%zz", "hexadecimal"},
        {"http://h/a\\b", "cannot hold"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        struct url url = {.port = 4711};
        int rc = url_parse(span_of(rows[i].text), &url, &err);
        expect_failure(rows[i].text, -EINVAL, rows[i].words, rc, &err);
        expect_contains(rows[i].text, err.text, "expected http://HOST[:PORT][/PATH] or https://…, got ");
        expect_number("untouched", 4711, url.port);
    }
}

/* What is refused is told in logs, /status and admission warnings. */
static void passwords_and_queries_of_bad_urls_are_not_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *got;
    } rows[] = {
        {"http://bob:s3cret@h:80/x", "got \"http://…@h:80/x\" (no user"},
        {"http://s3cret@h", "got \"http://…@h\" (no user"},
        {"https://bob:s3/cr@et@h/x", "got \"https://…@h/x\" (the port"},
        {"bob:s3cret@h", "got \"…@h\" (it must begin"},
        {"ftp://bob:s3cret@h", "got \"…@h\" (it must begin"},
        {"http://bob:s3?cr#et@h", "got \"http://…@h\" (the port"},
        {"http://h/x?token=s3cret", "got \"http://h/x?…\" (no query"},
        {"http://h?token=s3cret@x", "got \"http://…@x\" (no query"},
        {"http://h/x#s3cret", "got \"http://h/x#s3cret\" (no query or fragment)"},
        {"http://h:0/a@b", "got \"http://…@b\" (the port"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        struct url url;
        assert_int_equal(-EINVAL, url_parse(span_of(rows[i].text), &url, &err));
        expect_contains(rows[i].text, err.text, rows[i].got);
    }
}

static void nul_bytes_end_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"http://h\0/x", "http://\0/xx", "http://h/\0x", "http://[:\0:1]/"};
    static const size_t lengths[] = {11, 11, 11, 14};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct url url;
        assert_int_equal(-EINVAL, url_parse((struct span){texts[i], lengths[i]}, &url, NULL));
    }
}

static void lengths_have_limits(void **state)
{
    (void)state;
    char text[URL_MAX + 2];
    struct url url;
    memset(text, 'a', sizeof(text));
    memcpy(text, "http://h/", 9);
    assert_int_equal(0, url_parse((struct span){text, URL_MAX}, &url, NULL));
    assert_int_equal(-EINVAL, url_parse((struct span){text, URL_MAX + 1}, &url, NULL));
    memset(text, 'a', sizeof(text));
    memcpy(text, "http://", 7);
    assert_int_equal(0, url_parse((struct span){text, 7 + 253}, &url, NULL));
    assert_int_equal(-EINVAL, url_parse((struct span){text, 7 + 254}, &url, NULL));
}

static void paths_begin_with_a_slash(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words; /* NULL: good */
    } rows[] = {
        {"/", NULL},
        {"/debug/pprof", NULL},
        {"/debug/pprof/", NULL},
        {"/a%20b", NULL},
        {"", "begin with /"},
        {"debug/pprof", "begin with /"},
        {"http://h/debug", "begin with /"},
        {"/a?b", "no query"},
        {"/a#b", "no query"},
        {"/a,b", "cannot hold"},
        {"/a b", "cannot hold"},
        {"/%g0", "hexadecimal"},
        {"/a%2", "hexadecimal"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        int rc = url_check_path(span_of(rows[i].text), &err);
        if (rows[i].words == NULL)
            expect_success(rows[i].text, rc, &err);
        else
            expect_failure(rows[i].text, -EINVAL, rows[i].words, rc, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_cut_into_their_parts),
        cmocka_unit_test(loopback_is_told_by_its_spelling),
        cmocka_unit_test(bad_urls_are_refused_with_the_reason),
        cmocka_unit_test(passwords_and_queries_of_bad_urls_are_not_told),
        cmocka_unit_test(nul_bytes_end_nothing),
        cmocka_unit_test(lengths_have_limits),
        cmocka_unit_test(paths_begin_with_a_slash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
