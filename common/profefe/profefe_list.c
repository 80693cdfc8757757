#include "common/profefe/profefe_list.h"

#include "common/base/ascii.h"

#include <string.h>

_Static_assert((int)PROFEFE_LIST_LABELS_MAX < 64, "a bit for each label");
_Static_assert((int)PROFEFE_LIST_TEXT_MAX >= (int)LABEL_VALUE_MAX, "every label fits");

/* What may come next. */
enum state {
    VALUE,
    VALUE_OR_END,
    KEY,
    KEY_OR_END,
    COLON,
    COMMA_OR_END,
    IN_STRING,
    IN_ESCAPE,
    IN_HEX,
    IN_SCALAR,
    ENDED
};

enum { FIELD_OTHER = 0, FIELD_CODE = 'C', FIELD_BODY = 'B', FIELD_SERVICE = 's', FIELD_TYPE = 't', FIELD_TIME = 'c',
       FIELD_LABELS = 'l', FIELD_KEY = 'k', FIELD_VALUE = 'v' };

void profefe_list_init(struct profefe_list *list, const struct profefe_wanted *wanted)
{
    *list = (struct profefe_list){.wanted = wanted, .state = VALUE};
    if (!rfc3339_write(list->second, wanted->created_at_ms / 1000))
        list->verdict = PROFEFE_LIST_BAD;
}

/* ---- what it means ---- */

static struct profefe_list_level *top(struct profefe_list *list)
{
    return &list->levels[list->depth - 1];
}

static char field_of(enum profefe_list_role role, const char *key)
{
    static const struct {
        enum profefe_list_role role;
        const char *key;
        char field;
    } fields[] = {
        {LIST_REPLY, "code", FIELD_CODE}, {LIST_REPLY, "body", FIELD_BODY}, {LIST_ENTRY, "service", FIELD_SERVICE},
        {LIST_ENTRY, "type", FIELD_TYPE}, {LIST_ENTRY, "created_at", FIELD_TIME}, {LIST_ENTRY, "labels", FIELD_LABELS},
        {LIST_LABEL, "key", FIELD_KEY}, {LIST_LABEL, "value", FIELD_VALUE},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].role == role && strcmp(fields[i].key, key) == 0)
            return fields[i].field;
    }
    return FIELD_OTHER;
}

/* The role of a container by what it stands in. */
static enum profefe_list_role role_of(struct profefe_list *list, bool is_object)
{
    if (list->depth == 0)
        return is_object ? LIST_REPLY : LIST_STRANGER;
    const struct profefe_list_level *parent = top(list);
    if (is_object)
        return parent->role == LIST_BODY ? LIST_ENTRY : parent->role == LIST_LABELS ? LIST_LABEL : LIST_STRANGER;
    if (parent->role == LIST_REPLY && parent->field == FIELD_BODY)
        return LIST_BODY;
    return parent->role == LIST_ENTRY && parent->field == FIELD_LABELS ? LIST_LABELS : LIST_STRANGER;
}

static const struct label *wanted_label(const struct profefe_wanted *wanted, unsigned nth)
{
    return nth < wanted->labels->count ? &wanted->labels->items[nth] : &wanted->extra[nth - wanted->labels->count];
}

static unsigned wanted_label_count(const struct profefe_wanted *wanted)
{
    return wanted->labels->count + wanted->extra_count;
}

static void end_label(struct profefe_list *list)
{
    for (unsigned i = 0; i < wanted_label_count(list->wanted); i++) {
        const struct label *label = wanted_label(list->wanted, i);
        if (strcmp(label->key, list->label_key) != 0 || strcmp(label->value, list->label_value) != 0)
            continue;
        list->labels_seen |= UINT64_C(1) << i;
        return;
    }
    list->labels_fit = false;
}

static void end_entry(struct profefe_list *list)
{
    uint64_t all = (UINT64_C(1) << wanted_label_count(list->wanted)) - 1;
    if (list->code_is_200 && list->service_fits && list->type_fits && list->time_fits && list->labels_fit &&
        list->labels_seen == all)
        list->verdict = PROFEFE_LIST_FOUND;
}

static void begin_container(struct profefe_list *list, enum profefe_list_role role)
{
    if (role == LIST_ENTRY) {
        list->service_fits = list->type_fits = list->time_fits = false;
        list->labels_fit = true;
        list->labels_seen = 0;
    } else if (role == LIST_LABEL) {
        list->label_key[0] = list->label_value[0] = '\0';
    }
}

static bool is_second(const struct profefe_list *list, const char *text)
{
    size_t len = strlen(list->second);
    return strncmp(text, list->second, len) == 0 && strcmp(text + len, "Z") == 0;
}

static void take_string(struct profefe_list *list)
{
    switch (top(list)->field) {
    case FIELD_SERVICE:
        list->service_fits = strcmp(list->text, list->wanted->service) == 0;
        break;
    case FIELD_TYPE:
        list->type_fits = strcmp(list->text, list->wanted->type) == 0;
        break;
    case FIELD_TIME:
        list->time_fits = is_second(list, list->text);
        break;
    case FIELD_KEY:
        memcpy(list->label_key, list->text, strlen(list->text) + 1);
        break;
    case FIELD_VALUE:
        memcpy(list->label_value, list->text, strlen(list->text) + 1);
        break;
    default:
        break;
    }
}

/* ---- JSON (RFC 8259), as far as it takes ---- */

/* -1: not JSON as profefe writes it. */
static int open_container(struct profefe_list *list, bool is_object)
{
    if (list->depth == PROFEFE_LIST_DEPTH_MAX)
        return -1;
    enum profefe_list_role role = role_of(list, is_object);
    list->levels[list->depth++] = (struct profefe_list_level){.role = role, .is_object = is_object};
    begin_container(list, role);
    list->state = is_object ? KEY_OR_END : VALUE_OR_END;
    return 0;
}

static void after_value(struct profefe_list *list)
{
    list->state = list->depth > 0 ? COMMA_OR_END : ENDED;
}

static int close_container(struct profefe_list *list, bool is_object)
{
    if (list->depth == 0 || top(list)->is_object != is_object)
        return -1;
    enum profefe_list_role role = top(list)->role;
    list->depth--;
    if (role == LIST_LABEL)
        end_label(list);
    else if (role == LIST_ENTRY)
        end_entry(list);
    after_value(list);
    return 0;
}

static void text_begin(struct profefe_list *list, enum state state)
{
    list->text_len = 0;
    list->high_surrogate = 0;
    list->state = state;
}

static void text_put(struct profefe_list *list, char c)
{
    if (list->text_len < PROFEFE_LIST_TEXT_MAX)
        list->text[list->text_len] = c;
    list->text_len += list->text_len <= PROFEFE_LIST_TEXT_MAX ? 1 : 0;
}

/* A text that did not fit, or with a NUL in it, becomes one that equals nothing. */
static void text_end(struct profefe_list *list)
{
    static const char nothing[] = "\x01";
    bool fits = list->text_len <= PROFEFE_LIST_TEXT_MAX && memchr(list->text, '\0', list->text_len) == NULL;
    if (fits)
        list->text[list->text_len] = '\0';
    else
        memcpy(list->text, nothing, sizeof(nothing));
}

static void text_put_point(struct profefe_list *list, uint32_t point)
{
    if (point < 0x80) {
        text_put(list, (char)point);
        return;
    }
    unsigned more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
    text_put(list, (char)(first[more] | point >> (6 * more)));
    while (more-- > 0)
        text_put(list, (char)(0x80 | (point >> (6 * more) & 0x3F)));
}

/* A lone half of a pair: U+FFFD, as Go decodes it. */
static void flush_surrogate(struct profefe_list *list)
{
    if (list->high_surrogate != 0)
        text_put_point(list, 0xFFFD);
    list->high_surrogate = 0;
}

static void end_unit(struct profefe_list *list)
{
    uint32_t unit = list->unit;
    bool is_low = unit >= 0xDC00 && unit <= 0xDFFF, is_high = unit >= 0xD800 && unit <= 0xDBFF;
    if (is_low && list->high_surrogate != 0) {
        text_put_point(list, 0x10000 + ((list->high_surrogate - 0xD800) << 10) + (unit - 0xDC00));
        list->high_surrogate = 0;
        return;
    }
    flush_surrogate(list);
    if (is_high)
        list->high_surrogate = unit;
    else
        text_put_point(list, is_low ? 0xFFFD : unit);
}

static int on_hex(struct profefe_list *list, char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;
    if (at == NULL)
        return -1;
    list->unit = list->unit << 4 | (uint32_t)(at - digits);
    if (++list->hex_digits < 4)
        return 0;
    end_unit(list);
    list->state = IN_STRING;
    return 0;
}

static int on_escape(struct profefe_list *list, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (c == 'u') {
        list->hex_digits = 0;
        list->unit = 0;
        list->state = IN_HEX;
        return 0;
    }
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at == NULL)
        return -1;
    flush_surrogate(list);
    text_put(list, to[at - from]);
    list->state = IN_STRING;
    return 0;
}

/* A key lies before its colon: only then is a value of it expected. */
static void end_string(struct profefe_list *list)
{
    flush_surrogate(list);
    text_end(list);
    bool is_key = list->depth > 0 && top(list)->is_object && top(list)->field == '"';
    if (is_key) {
        top(list)->field = field_of(top(list)->role, list->text);
        list->state = COLON;
        return;
    }
    if (list->depth > 0)
        take_string(list);
    after_value(list);
}

static int on_string(struct profefe_list *list, char c)
{
    if (c == '"') {
        end_string(list);
    } else if (c == '\\') {
        list->state = IN_ESCAPE;
    } else if ((unsigned char)c < 0x20) {
        return -1;
    } else {
        flush_surrogate(list);
        text_put(list, c);
    }
    return 0;
}

static int on_structure(struct profefe_list *list, char c);

static bool is_scalar_byte(char c)
{
    return ascii_is_digit(c) || ascii_is_lower(c) || c == '-' || c == '+' || c == '.' || c == 'E';
}

/* A number, true, false or null ends with what comes after it. */
static int on_scalar(struct profefe_list *list, char c)
{
    if (is_scalar_byte(c)) {
        text_put(list, c);
        return 0;
    }
    text_end(list);
    if (list->depth > 0 && top(list)->field == FIELD_CODE)
        list->code_is_200 = strcmp(list->text, "200") == 0;
    after_value(list);
    return on_structure(list, c);
}

static int on_value(struct profefe_list *list, char c)
{
    if (c == '{' || c == '[')
        return open_container(list, c == '{');
    if (c != '"' && !is_scalar_byte(c))
        return -1;
    text_begin(list, c == '"' ? IN_STRING : IN_SCALAR);
    if (c != '"')
        text_put(list, c);
    return 0;
}

static int on_key(struct profefe_list *list, char c)
{
    if (c != '"')
        return -1;
    top(list)->field = '"'; /* its own key is being read */
    text_begin(list, IN_STRING);
    return 0;
}

static int on_structure(struct profefe_list *list, char c)
{
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        return 0;
    bool may_end = list->state == COMMA_OR_END || list->state == KEY_OR_END || list->state == VALUE_OR_END;
    if (may_end && (c == '}' || c == ']'))
        return close_container(list, c == '}');
    switch (list->state) {
    case VALUE:
    case VALUE_OR_END:
        return on_value(list, c);
    case KEY:
    case KEY_OR_END:
        return on_key(list, c);
    case COLON:
        list->state = VALUE;
        return c == ':' ? 0 : -1;
    case COMMA_OR_END:
        list->state = top(list)->is_object ? KEY : VALUE;
        return c == ',' ? 0 : -1;
    default: /* ENDED */
        return -1;
    }
}

static int on_byte(struct profefe_list *list, char c)
{
    switch (list->state) {
    case IN_STRING:
        return on_string(list, c);
    case IN_ESCAPE:
        return on_escape(list, c);
    case IN_HEX:
        return on_hex(list, c);
    case IN_SCALAR:
        return on_scalar(list, c);
    default:
        return on_structure(list, c);
    }
}

enum profefe_list_verdict profefe_list_feed(struct profefe_list *list, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && list->verdict != PROFEFE_LIST_BAD && list->verdict != PROFEFE_LIST_FOUND; i++) {
        if (on_byte(list, bytes[i]) < 0)
            list->verdict = PROFEFE_LIST_BAD;
        else if (list->verdict == PROFEFE_LIST_READING && list->state == ENDED)
            list->verdict = PROFEFE_LIST_ABSENT;
    }
    return list->verdict;
}
