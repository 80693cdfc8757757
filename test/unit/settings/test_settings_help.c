/* settings_help: --help has each setting with its default, its variable and its INI key. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/settings/settings_help.h"

enum { PAGE_MAX = 256 * 1024 };

static void help_names_every_setting_of_the_use_with_its_default(void **state)
{
    (void)state;
    static const unsigned uses[] = {SETTING_AGENT, SETTING_WEBHOOK};
    for (size_t u = 0; u < COUNT_OF(uses); u++) {
        struct buf help;
        buf_init(&help, PAGE_MAX);
        assert_int_equal(0, settings_help_write_flags(&help, uses[u]));
        assert_null(strstr(help.data, "(null)"));
        for (int id = 0; id < SETTING_COUNT; id++) {
            const struct setting *row = &settings_table[id];
            char words[300];
            bool flag =
                (row->where & uses[u]) != 0 && (uses[u] == SETTING_AGENT || strcmp(row->section, "server") == 0);
            if (!flag)
                continue;
            snprintf(words, sizeof(words), "  --%s VALUE\n", id == SETTING_TARGETS ? "target" : row->name);
            expect_contains("help", help.data, words);
            snprintf(words, sizeof(words), "(default %s)", row->default_text);
            if (row->default_text != NULL)
                expect_contains(row->name, help.data, words);
            snprintf(words, sizeof(words), "env %s, INI [%s] %s\n", row->env,
                     uses[u] == SETTING_AGENT ? "agent" : row->section, row->name);
            expect_contains(row->name, help.data, words);
        }
        buf_done(&help);
    }
}

static int help_attempt(void *ctx)
{
    (void)ctx;
    struct buf help;
    buf_init(&help, PAGE_MAX);
    int rc = settings_help_write_flags(&help, SETTING_AGENT);
    buf_done(&help);
    return rc;
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    assert_in_range(alloc_fail_in_turn("settings_help_write_flags", help_attempt, NULL), 1, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_names_every_setting_of_the_use_with_its_default),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
