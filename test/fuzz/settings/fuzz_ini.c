/* Any bytes as an INI text; then as the agent's and as the webhook's file. Every key and value that is handed over is
 * UTF-8 from one line, and an error names a line that the text has. */
/* sees: pod */

#include "fuzz.h"

#include "common/base/utf8.h"
#include "common/pod/limits.h"
#include "common/settings/ini_file.h"
#include "common/settings/settings.h"
#include "common/settings/settings_check.h"
#include "common/settings/settings_ini.h"

#include <sys/mman.h>
#include <unistd.h>

struct seen {
    unsigned keys;
    bool refuses; /* every third key */
};

static void must_be_one_line(const char *text)
{
    for (size_t i = 0, len = strlen(text); i < len;) {
        size_t n = utf8_len(text + i, len - i);
        must(n > 0, "expected UTF-8");
        i += n;
    }
    must(strlen(text) <= INI_FILE_LINE_MAX, "expected no more than a line");
}

static int take(void *ctx, const char *section, const char *key, const char *value, int number, struct err *err)
{
    struct seen *seen = ctx;
    must(number >= 1, "expected a line number");
    must_be_one_line(section);
    must_be_one_line(key);
    must(strchr(section, '\n') == NULL && strchr(key, '\n') == NULL, "expected names of one line");
    char *lines = strdup(value);
    must(lines != NULL, "expected memory");
    char *rest = lines;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        must_be_one_line(line);
    free(lines);
    seen->keys++;
    return seen->refuses && seen->keys % 3 == 0 ? err_set(err, ERANGE, "refused") : 0;
}

/* "fuzz:LINE: …" with 1 <= LINE <= lines of the text. */
static void must_name_a_line(const struct err *err, struct span text)
{
    unsigned lines = 1, line = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n' ? 1 : 0;
    must(sscanf(err->text, "fuzz:%u:", &line) == 1 && line >= 1 && line <= lines, "expected a line of the text");
}

static void read_keys(struct span text, bool refuses)
{
    struct seen seen = {.refuses = refuses};
    struct err err = {0};
    int rc = ini_file_parse("fuzz", text.ptr, text.len, take, &seen, &err);
    must_be_told(rc, &err);
    must(rc == 0 || rc == -EINVAL || (refuses && rc == -ERANGE), "expected a bad line or none");
    if (rc < 0)
        must_name_a_line(&err, text);
    if (rc == 0)
        must(!refuses || seen.keys < 3, "expected a refusal to be told");
}

/* Limits that are good permit the webhook's own values, and judge any other without a fault. */
static void check_limits(const struct settings *settings, const struct limits *limits)
{
    struct err err = {0};
    int rc = limits_check_settings(limits, settings, "fuzz", &err);
    must_be_told(rc, &err);
    for (int id = 0; rc == 0 && id < SETTING_COUNT; id++) {
        const char *own = settings_get(settings, (enum setting_id)id);
        const char *limit = limits->of[id].text;
        if (own == NULL || !limits_can_hold((enum setting_id)id))
            continue;
        int judged = limits_check(limits, (enum setting_id)id, (struct span){own, strlen(own)}, NULL);
        must(judged == 0 || judged == -EINVAL, "expected a judgement");
        must(judged == 0 || id == SETTING_TYPES || (limit != NULL && strcmp(limit, "fixed") == 0),
             "expected the webhook's own value to be permitted");
    }
}

static void read_settings(int fd, unsigned use)
{
    char path[64];
    struct settings settings;
    struct limits limits = {0};
    struct err err = {0};
    settings_init(&settings);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct settings_ini_section section = limits_section(&limits);
    int rc = settings_ini_read(&settings, path, use, use == SETTING_WEBHOOK ? &section : NULL, &err);
    must_be_told(rc, &err);
    if (rc == 0 && use == SETTING_WEBHOOK)
        check_limits(&settings, &limits);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const char *value = settings_get(&settings, (enum setting_id)id);
        if (!settings_is_set(&settings, (enum setting_id)id))
            continue;
        must((settings_table[id].where & use) != 0, "expected only settings of this use");
        must(settings_check((enum setting_id)id, span_of(value), NULL) == 0, "expected only checked values");
    }
    settings_done(&settings);
    limits_done(&limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (size > FUZZ_SIZE_MAX)
        return 0;
    if (fd < 0)
        fd = memfd_create("fuzz_ini", MFD_CLOEXEC);
    struct span text = fuzz_copy(data, size);
    read_keys(text, false);
    read_keys(text, true);
    must(ftruncate(fd, 0) == 0 && pwrite(fd, text.ptr, text.len, 0) == (ssize_t)text.len, "expected room for the file");
    read_settings(fd, SETTING_AGENT);
    read_settings(fd, SETTING_WEBHOOK);
    free((char *)text.ptr);
    return 0;
}
