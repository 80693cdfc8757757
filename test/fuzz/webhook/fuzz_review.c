/* Any bytes as a review: never a crash, never a leak, and each patch is one that the API server can apply.
 *
 * The first byte chooses /mutate (even) or /mutate/all (odd) and, in its next two bits, the configuration, so that one
 * corpus serves all of them. Each reply must read back; its patch is taken out of the base64, applied, and a second
 * pass over the patched pod must add nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "webhook/admission.h"
#include "webhook/patch_verify.h"

static void require(bool condition, const char *what, const char *detail)
{
    if (condition)
        return;
    fprintf(stderr, "%s: %s\n", what, detail);
    abort();
}

static void set(struct settings *settings, enum setting_id id, const char *text)
{
    struct err err = {.text = ""};
    require(settings_set(settings, id, (struct span){text, strlen(text)}, SETTING_FROM_INI, &err) == 0, text, err.text);
}

enum { CONFIGURATIONS = 4 };

static const struct policy *choose_policy(unsigned which)
{
    static struct policy all[CONFIGURATIONS];
    static bool ready;
    if (!ready) {
        ready = true;
        for (int i = 0; i < CONFIGURATIONS; i++)
            set(&all[i].settings, SETTING_IMAGE, "registry.example.com/profefe-agent:1.0");
        set(&all[0].settings, SETTING_COLLECTOR, "http://profefe:10100");
        set(&all[1].settings, SETTING_IMAGE_PREFIXES, "ghcr.io/acme/,registry.example.com/team");
        set(&all[1].settings, SETTING_CPU_LIMIT, "50m");
        set(&all[1].settings, SETTING_MODE, "container");
        set(&all[1].settings, SETTING_LABELS, "env=prod");
        set(&all[1].settings, SETTING_POD_LABELS, "app,version");
        set(&all[2].settings, SETTING_SPOOL, "1Mi");
        set(&all[2].settings, SETTING_COLLECTOR_SECRET, "profefe");
        set(&all[2].settings, SETTING_MODE, "container");
        set(&all[3].settings, SETTING_STRICT, "true");
    }
    return &all[which];
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* In place; returns the length. */
static size_t decode_base64(char *text)
{
    size_t used = 0;
    unsigned bits = 0, count = 0;
    for (const char *c = text; base64_value(*c) >= 0; c++) {
        bits = (bits << 6 | (unsigned)base64_value(*c)) & 0xFFFFFF;
        count += 6;
        if (count >= 8) {
            count -= 8;
            text[used++] = (char)(bits >> count & 0xFF);
        }
    }
    return used;
}

static void check_reply(const struct policy *policy, struct span body, bool all, const struct buf *reply)
{
    struct json json = {0};
    struct err err = {.text = ""};
    require(json_read(&json, buf_text(reply), reply->len, &err) == 0, "the reply", err.text);
    cJSON *response = json_get_object(json.root, "response");
    require(json_get_text(response, "uid") != NULL, "no uid", buf_text(reply));
    cJSON *patch = json_get(response, "patch");
    require(json_get_true(response, "allowed") || patch == NULL, "a refusal with a patch", buf_text(reply));
    require((patch != NULL) == (json_get(response, "patchType") != NULL), "patch without patchType", buf_text(reply));
    if (patch != NULL) {
        size_t len = decode_base64(patch->valuestring);
        int rc = patch_verify(policy, body, all, (struct span){patch->valuestring, len}, &err);
        require(rc == 0 || rc == -ENOMEM, "the patch", err.text);
    }
    json_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct admission_result result;
    if (size == 0)
        return 0;
    bool all = (data[0] & 1) != 0;
    const struct policy *policy = choose_policy(data[0] >> 1 & (CONFIGURATIONS - 1));
    /* A copy without a byte to spare, so that a sanitizer sees each read beyond it. */
    char *copy = malloc(size - 1 > 0 ? size - 1 : 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data + 1, size - 1);
    struct span body = {copy, size - 1};
    struct buf reply;
    struct err err = {.text = ""};
    buf_init(&reply, REVIEW_REPLY_MAX);
    int rc = admission_answer_offline(policy, body, all, NULL, &result, &reply, &err);
    require(rc == 0 || rc == -EINVAL || rc == -EFBIG || rc == -ENOMEM, "the code", err.text);
    require(rc == 0 || err.text[0] != '\0', "an error without words", "");
    if (rc == 0)
        check_reply(policy, body, all, &reply);
    buf_done(&reply);
    free(copy);
    return 0;
}
