/* sees: webhook */
#include "review_fixtures.h"

void set_setting(struct settings *settings, enum setting_id id, const char *text)
{
    struct err err = {0};
    if (settings_set(settings, id, span_of(text), SETTING_FROM_INI, &err) != 0)
        fail_msg("%s = %s: %s", settings_table[id].name, text, err.text);
}

void init_settings(struct settings *settings)
{
    settings_init(settings);
    set_setting(settings, SETTING_IMAGE, "registry.example.com/profefe-agent:1.0");
    set_setting(settings, SETTING_COLLECTOR, "http://profefe:10100");
}

void read_quoted(struct json *json, const char *text)
{
    struct err err = {0};
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    if (json_read(json, copy, strlen(copy), &err) != 0)
        fail_msg("%s: %s", text, err.text);
    free(copy);
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

char *decode_base64(const char *text, size_t *ret_len)
{
    size_t len = strlen(text), used = 0;
    size_t padding = len > 0 && text[len - 1] == '=' ? (len > 1 && text[len - 2] == '=' ? 2 : 1) : 0;
    char *bytes = malloc(len / 4 * 3 + 1);
    if (bytes == NULL || len % 4 != 0) {
        free(bytes);
        return NULL;
    }
    unsigned bits = 0, count = 0;
    for (size_t i = 0; i < len - padding; i++) {
        int value = base64_value(text[i]);
        if (value < 0) {
            free(bytes);
            return NULL;
        }
        bits = (bits << 6 | (unsigned)value) & 0xFFFFFF;
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[used++] = (char)(bits >> count & 0xFF);
        }
    }
    if ((bits & ((1U << count) - 1)) != 0) {
        free(bytes);
        return NULL;
    }
    bytes[used] = '\0';
    *ret_len = used;
    return bytes;
}
