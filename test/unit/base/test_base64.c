/* base64: the test vectors of RFC 4648 §10, all digits, and not a byte more than was announced. */
#include "unit.h"

#include "common/base/base64.h"

static void expect(const void *bytes, size_t len, const char *expected)
{
    char out[128];
    memset(out, '!', sizeof(out));
    char *end = base64_encode(bytes, len, out);
    assert_int_equal(base64_size(len), strlen(expected));
    assert_ptr_equal(end, out + strlen(expected));
    assert_memory_equal(out, expected, strlen(expected));
    assert_int_equal(*end, '!');
}

static void vectors_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},         {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect(rows[i].text, strlen(rows[i].text), rows[i].expected);
}

static void every_digit_has_its_place(void **state)
{
    (void)state;
    unsigned char bytes[48];
    for (unsigned i = 0; i < 16; i++) {
        unsigned four = (4 * i) << 18 | (4 * i + 1) << 12 | (4 * i + 2) << 6 | (4 * i + 3);
        bytes[3 * i] = (unsigned char)(four >> 16);
        bytes[3 * i + 1] = (unsigned char)(four >> 8);
        bytes[3 * i + 2] = (unsigned char)four;
    }
    expect(bytes, sizeof(bytes), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc),
        cmocka_unit_test(every_digit_has_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
