/* image: which texts are references to images, and which of them a list of prefixes permits. */
#include "unit.h"

#include "common/values/image.h"

/* What a kubelet calls InvalidImageName would keep a native pod from starting. */
static void references(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"a", true},
        {"profefe-agent", true},
        {"profefe-agent:1.0", true},
        {"localhost/profefe-agent:dev", true},
        {"registry.example.com/team/profefe-agent:1.0-RC1", true},
        {"registry.example.com:5000/profefe_agent", true},
        {"Registry.Example.com/a", true},
        {"localhost:5000/a__b/c--d.e:v1_2", true},
        {"a@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", true},
        {"r.example.com/a:1@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", true},
        {"", false},
        {"bad image!", false},
        {"/a", false},
        {"a/", false},
        {"a//b", false},
        {"a:", false},
        {":1", false},
        {"a:1:2", false},
        {"a@", false},
        {"@sha256:00", false},
        {"a@b@c", false},
        {"https://r.example.com/a", false},
        {"Profefe-Agent:1.0", false},
        {"r.example.com/Profefe:1.0", false},
        {"-a", false},
        {"a-", false},
        {"a-/b", false},
        {"a..b", false},
        {"a._b", false},
        {"a___b", false},
        {"a/../b", false},
        {"a,b", false},
        {"a\nb", false},
        {"\xc3\xa4", false},
        {"r.example.com:/a", false},
        {"r.example.com", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_number(rows[i].text, rows[i].good, image_is_reference(span_of(rows[i].text)));
}

static void references_have_a_limit(void **state)
{
    (void)state;
    static char text[IMAGE_MAX + 2];
    memset(text, 'a', sizeof(text) - 1);
    assert_false(image_is_reference(span_of(text)));
    text[IMAGE_MAX] = '\0';
    assert_true(image_is_reference(span_of(text)));
    assert_false(image_is_reference((struct span){"a\0b", 3}));
}

static void images_are_permitted_by_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *prefixes, *image;
        bool permitted;
    } cases[] = {
        {"ghcr.io/acme/", "ghcr.io/acme/agent:1", true},
        {"ghcr.io/acme/", "ghcr.io/acme", false},
        {"ghcr.io/acme", "ghcr.io/acme", true},
        {"ghcr.io/acme", "ghcr.io/acme/agent", true},
        {"ghcr.io/acme", "ghcr.io/acme:1", true},
        {"ghcr.io/acme", "ghcr.io/acme@sha256:0", true},
        {"ghcr.io/acme", "ghcr.io/acme-evil/agent", false},
        {"ghcr.io/acme", "ghcr.io/acmeevil/agent", false},
        {"ghcr.io/acme", "ghcr.io/acme.evil/agent", false},
        {"localhost/profefe-", "localhost/profefe-agent:dev", true}, /* open on purpose */
        {"ghcr.io/acme/agent:1.0", "ghcr.io/acme/agent:1.0", true},
        {"ghcr.io/acme/agent:1.0", "ghcr.io/acme/agent:1.0@sha256:0", false}, /* the tag would not count */
        {"ghcr.io/acme/agent:1.", "ghcr.io/acme/agent:1.5", true},
        {"ghcr.io/acme/agent:1.", "ghcr.io/acme/agent:1.5@sha256:0", false},
        {"ghcr.io/acme/agent:1.0@sha256:", "ghcr.io/acme/agent:1.0@sha256:0", true},
        {"ghcr.io", "ghcr.io/acme/agent:1", true},
        {"ghcr.io", "ghcr.io:5000/acme/agent:1", false},
        {"ghcr.", "ghcr.evil.example/acme/agent:1", false},
        {"ghcr.io:", "ghcr.io:5000/acme/agent:1", false},
        {"acme-", "acme-evil/agent:1", false}, /* somebody else's on the default registry */
        {"acme-", "acme-agent:1", true},
        {"acme", "acme:1", true},
        {"acme", "acme:5000/agent", false},
        {"localhost:5000", "localhost:5000/agent:1@sha256:0", true},
        {"localhost:500", "localhost:5000/agent", false},
        {"a.io/x, b.io/y", "b.io/y:1", true},
        {"a.io/x, b.io/y", "b.io/x:1", false},
        {"a.io/x", "evil.io/a.io/x", false},
        {"", "a", false},
        {",,", "a", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (image_is_permitted(span_of(cases[i].prefixes), span_of(cases[i].image)) != cases[i].permitted)
            fail_msg("%s with prefixes %s: expected %d", cases[i].image, cases[i].prefixes, cases[i].permitted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references),
        cmocka_unit_test(references_have_a_limit),
        cmocka_unit_test(images_are_permitted_by_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
