/* sees: pprof */
#include "pprof_fixtures.h"

#include "common/pprof/gz.h"

#include <dirent.h>
#include <sys/stat.h>

void fixture_done(struct fixture *fixture)
{
    free(fixture->bytes);
    fixture->bytes = NULL;
}

void fixture_read(struct fixture *fixture, const char *folder, const char *name)
{
    snprintf(fixture->path, sizeof(fixture->path), "%s/pprof/%s/%s", FIXTURES, folder, name);
    fixture->name = strrchr(fixture->path, '/') + 1;
    FILE *file = fopen(fixture->path, "rbe");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) < 0)
        fail_msg("%s: cannot be read", fixture->path);
    fixture->len = (size_t)status.st_size;
    fixture->bytes = malloc(fixture->len + 1);
    assert_non_null(fixture->bytes);
    assert_int_equal(fread(fixture->bytes, 1, fixture->len, file), fixture->len);
    fclose(file);
}

void fixture_each(const char *folder, void (*fn)(const struct fixture *fixture, void *ctx), void *ctx)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/pprof/%s", FIXTURES, folder);
    DIR *dir = opendir(path);
    if (dir == NULL)
        fail_msg("%s: cannot be read", path);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        struct fixture fixture;
        fixture_read(&fixture, folder, entry->d_name);
        fn(&fixture, ctx);
        fixture_done(&fixture);
        count++;
    }
    closedir(dir);
    if (count == 0)
        fail_msg("%s: no file", path);
}

uint8_t *fixture_inflate(const uint8_t *bytes, size_t len, size_t *ret_len)
{
    struct gz_reader reader;
    assert_int_equal(gz_reader_init(&reader, UINT32_MAX), 0);
    struct gz_bytes in = {bytes, len};
    uint8_t *raw = NULL;
    size_t used = 0, written = 0, room = 0;
    do {
        room = 64 * 1024;
        uint8_t *more = realloc(raw, used + room);
        assert_non_null(more);
        raw = more;
        assert_int_equal(gz_reader_step(&reader, &in, raw + used, room, &written), 0);
        used += written;
    } while (in.len > 0 || written == room);
    assert_false(gz_reader_is_inside(&reader));
    gz_reader_done(&reader);
    *ret_len = used;
    return raw;
}

uint8_t *fixture_compress(const uint8_t *bytes, size_t len, size_t *ret_len)
{
    struct gz_writer writer;
    assert_int_equal(gz_writer_init(&writer), 0);
    struct gz_bytes in = {bytes, len};
    size_t room = len + len / 8 + 1024, used = 0;
    uint8_t *out = malloc(room);
    assert_non_null(out);
    while (!writer.finished) {
        assert_in_range(used, 0, room - 1);
        used += gz_writer_step(&writer, &in, /* last= */ true, out + used, room - used);
    }
    gz_writer_done(&writer);
    *ret_len = used;
    return out;
}
