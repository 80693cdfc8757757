/* settings_check: what each type of setting takes, and what is told of what it does not take. */
#include "unit.h"

#include "common/settings/settings.h"
#include "common/settings/settings_check.h"

struct check_row {
    enum setting_id id;
    const char *text;
    const char *words; /* NULL: good */
};

static void check_rows(const struct check_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err err = err_untouched;
        char row[300];
        int rc = settings_check(rows[i].id, span_of(rows[i].text), &err);
        snprintf(row, sizeof(row), "%s = %s", settings_table[rows[i].id].name, rows[i].text);
        if (rows[i].words == NULL) {
            expect_success(row, rc, &err);
            continue;
        }
        if (rc >= 0)
            fail_msg("%s: was taken", row);
        expect_contains(row, err.text, rows[i].words);
    }
}

static void plain_values(void **state)
{
    (void)state;
    static const struct check_row rows[] = {
        {SETTING_ENABLE, "true", NULL},
        {SETTING_ENABLE, "Off", NULL},
        {SETTING_ENABLE, "", "expected true or false, got \"\""},
        {SETTING_ENABLE, "ture", "expected true or false, got \"ture\""},
        {SETTING_SERVICE, "web", NULL},
        {SETTING_SERVICE, "gr\xc3\xbc\xc3\x9f", NULL},
        {SETTING_SERVICE, "", "expected 1 to 253 bytes, got 0"},
        {SETTING_SERVICE, "a\tb", "without control characters"},
        {SETTING_SERVICE, "a\xc2\x9b" "31m", "without control characters"},
        {SETTING_SERVICE, "a\xff", "expected UTF-8"},
        {SETTING_SERVICE, "a\xc3", "expected UTF-8"},
        {SETTING_INTERVAL, "60s", NULL},
        {SETTING_INTERVAL, "1s", NULL},
        {SETTING_INTERVAL, "24h", NULL},
        {SETTING_INTERVAL, "999ms", "from 1s to 24h"},
        {SETTING_INTERVAL, "25h", "from 1s to 24h"},
        {SETTING_INTERVAL, "60", "expected a whole number with a unit"},
        {SETTING_CPU_SECONDS, "300", NULL},
        {SETTING_CPU_SECONDS, "0", "from 1 to 300"},
        {SETTING_CPU_SECONDS, "10s", "expected a whole number"},
        {SETTING_MODE, "native", NULL},
        {SETTING_MODE, "container", NULL},
        {SETTING_MODE, "nativ", "expected native|container, got \"nativ\""},
        {SETTING_MODE, "native|container", "expected native|container"},
        {SETTING_MODE, "Native", "expected native|container"},
        {SETTING_MODE, "", "expected native|container"},
        {SETTING_SCHEME, "https", NULL},
        {SETTING_SCHEME, "htt", "expected http|https"},
        {SETTING_PATH, "/debug/pprof", NULL},
        {SETTING_PATH, "/", NULL},
        {SETTING_PATH, "debug", "begin with /"},
        {SETTING_PATH, "", "begin with /"},
        {SETTING_COLLECTOR, "http://profefe:10100", NULL},
        {SETTING_COLLECTOR, "profefe:10100", "expected http://"},
        {SETTING_COLLECTOR, "", "expected http://"},
        {SETTING_TYPES, "cpu,heap:5m", NULL},
        {SETTING_TYPES, "cpu:10s=10s", "SECONDS less than EVERY"},
        {SETTING_LABELS, "team=shop", NULL},
        {SETTING_LABELS, "", NULL},
        {SETTING_LABELS, "team", "expected KEY=VALUE"},
        {SETTING_POD_LABELS, "app, app.kubernetes.io/name", NULL},
        {SETTING_POD_LABELS, "", NULL},
        {SETTING_POD_LABELS, "app name", "separated by commas, got \"app name\""},
        {SETTING_POD_LABELS, "\xc3\xa4", "separated by commas"},
        {SETTING_SERVICE_FROM, "owner, labels", NULL},
        {SETTING_SERVICE_FROM, "", NULL},
        {SETTING_SERVICE_FROM, "owner,label", "expected annotations|labels|owner, got \"label\""},
        {SETTING_SKIP_CONTAINERS, "eks,gke", "expected eks|azure, got \"gke\""},
        {SETTING_TARGETS, "a=http://h,b=http://h", NULL},
        {SETTING_TARGETS, "http://h,http://i", "a name of its own"},
        {SETTING_LISTEN, ":10101", NULL},
        {SETTING_LISTEN, "127.0.0.1:0", NULL},
        {SETTING_LISTEN, "[::1]:1", NULL},
        {SETTING_LISTEN, "none", NULL},
        {SETTING_LISTEN, "localhost:1", NULL},
        {SETTING_LISTEN, "[::]:0", NULL},
        {SETTING_LISTEN, "10101", "expected [HOST]:PORT"},
        {SETTING_LISTEN, "example.com:80", "expected [HOST]:PORT with an IP address"},
        {SETTING_LISTEN, "::1:80", "expected [HOST]:PORT with an IP address"},
        {SETTING_LISTEN, "127.0.0:80", "expected [HOST]:PORT with an IP address"},
        {SETTING_SERVER_LISTEN, "none", "expected [HOST]:PORT"},
        {SETTING_SERVER_ADMIN_LISTEN, "none", "expected [HOST]:PORT"},
        {SETTING_LISTEN, ":65536", "expected [HOST]:PORT"},
        {SETTING_LISTEN, ":", "expected [HOST]:PORT"},
        {SETTING_LISTEN, "", "expected [HOST]:PORT"},
        {SETTING_CPU_LIMIT, "none", NULL},
        {SETTING_CPU_LIMIT, "50m", NULL},
        {SETTING_CPU_LIMIT, "lots", "expected a quantity"},
        {SETTING_IMAGE, "registry.example.com/team/profefe-agent:1.0-RC1", NULL},
        {SETTING_IMAGE, "", "expected an image such as"},
        {SETTING_IMAGE, "bad image!",
         "expected an image such as registry.example.com/profefe-agent:1.0, got \"bad image!\""},
        {SETTING_GRACE, "0", NULL},
        {SETTING_GRACE, "2147483647", NULL},
        {SETTING_GRACE, "-1", "expected a whole number"},
    };
    check_rows(rows, COUNT_OF(rows));
}

static void ports(void **state)
{
    (void)state;
    static const struct check_row rows[] = {
        {SETTING_PORT, "6060", NULL},
        {SETTING_PORT, "1", NULL},
        {SETTING_PORT, "65535", NULL},
        {SETTING_PORT, "pprof", NULL},
        {SETTING_PORT, "api=6060", NULL},
        {SETTING_PORT, "api=6060, worker = pprof-2 ,", NULL},
        {SETTING_PORT, "1=1,2=2,3=3,4=4,5=5,6=6,7=7,8=8", NULL},
        {SETTING_PORT, "", "1 to 8 ports, got 0"},
        {SETTING_PORT, "0", "got \"0\""},
        {SETTING_PORT, "65536", "got \"65536\""},
        {SETTING_PORT, "99999999999999999999", "got"},
        {SETTING_PORT, "-1", "got \"-1\""},
        {SETTING_PORT, "60 60", "got"},
        {SETTING_PORT, "Pprof", "got"},
        {SETTING_PORT, ":6060", "got"},
        {SETTING_PORT, "api=", "got"},
        {SETTING_PORT, "=6060", "NAME of a-z"},
        {SETTING_PORT, "API=6060", "NAME of a-z"},
        {SETTING_PORT, "-a=6060", "NAME of a-z"},
        {SETTING_PORT, "a=b=6060", "got"},
        {SETTING_PORT, "6060,6061", "a name for each of several ports"},
        {SETTING_PORT, "api=6060,6061", "a name for each of several ports"},
        {SETTING_PORT, "6060,,", "got"},
        {SETTING_PORT, "1=1,2=2,3=3,4=4,5=5,6=6,7=7,8=8,9=9", "1 to 8 ports, got 9"},
    };
    check_rows(rows, COUNT_OF(rows));
}

static void every_type_refuses_nul_and_too_much(void **state)
{
    (void)state;
    static char text[SETTINGS_VALUE_MAX + 2];
    memset(text, 'a', sizeof(text));
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct err err = {0};
        int rc = settings_check((enum setting_id)id, (struct span){text, SETTINGS_VALUE_MAX + 1}, &err);
        expect_failure(settings_table[id].name, -EINVAL, "expected at most 4096 bytes, got 4097", rc, &err);
        if (settings_check((enum setting_id)id, (struct span){"a\0b", 3}, &err) == 0)
            fail_msg("%s: takes a NUL byte", settings_table[id].name);
        /* whatever they come to */
        rc = settings_check((enum setting_id)id, (struct span){text, SETTINGS_VALUE_MAX}, NULL);
        rc = settings_check((enum setting_id)id, (struct span){"", 0}, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values),
        cmocka_unit_test(ports),
        cmocka_unit_test(every_type_refuses_nul_and_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
