/* Replays files and folders of inputs through LLVMFuzzerTestOneInput when there is no libFuzzer.
 * An empty corpus is an error: a test that ran nothing proves nothing. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    struct stat st;
    uint8_t *bytes = NULL;
    size_t got = 0;
    if (fstat(fileno(f), &st) == 0 && (bytes = malloc((size_t)st.st_size + 1)) != NULL)
        got = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    if (bytes == NULL)
        return -1;
    LLVMFuzzerTestOneInput(bytes, got);
    free(bytes);
    return 1;
}

static int replay(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return replay_file(path);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char full[4096];
        snprintf(full, sizeof(full), "%s/%s", path, entry->d_name);
        int n = replay(full);
        if (n < 0) {
            closedir(dir);
            return n;
        }
        count += n;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);
        if (n < 0)
            return 1;
        count += n;
    }
    printf("%d inputs replayed\n", count);
    return count > 0 ? 0 : 1;
}
