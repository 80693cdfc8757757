/* Helpers around reviews and their replies, for the tests of the webhook. */
#ifndef TEST_REVIEW_FIXTURES_H
#define TEST_REVIEW_FIXTURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/settings/settings.h"
#include "webhook/admission.h"
#include "common/pod/json.h"
#include "common/base/span.h"

static inline void set_setting(struct settings *settings, enum setting_id id, const char *text)
{
    struct err err = {0};
    if (settings_set(settings, id, span_of(text), SETTING_FROM_INI, &err) != 0)
        fail_msg("%s = %s: %s", settings_table[id].name, text, err.text);
}

/* The configuration that most tests want: an image and a collector. */
static inline void init_settings(struct settings *settings)
{
    settings_init(settings);
    set_setting(settings, SETTING_IMAGE, "registry.example.com/profefe-agent:1.0");
    set_setting(settings, SETTING_COLLECTOR, "http://profefe:10100");
}

/* Reads JSON written with ' for ". json_done() it. */
static inline void read_quoted(struct json *json, const char *text)
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

static inline int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* RFC 4648 §4, strict: whole quads, padding only at the end and no bits under it. NULL when it is not that. Owned. */
static inline char *decode_base64(const char *text, size_t *ret_len)
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

#endif
