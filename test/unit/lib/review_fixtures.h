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

#include "common/base/span.h"
#include "common/pod/json.h"
#include "common/settings/settings.h"
#include "webhook/admission.h"

/* As in an INI file; fails the test when the value is bad. */
void set_setting(struct settings *settings, enum setting_id id, const char *text);

/* The configuration that most tests want: an image and a collector. */
void init_settings(struct settings *settings);

/* Reads JSON written with ' for ". json_done() it. */
void read_quoted(struct json *json, const char *text);

/* RFC 4648 §4, strict: whole quads, padding only at the end and no bits under it. NULL when it is not that. Owned. */
char *decode_base64(const char *text, size_t *ret_len);

#endif
