/* Loaded before the system's library: while the file that FAIL_JOURNAL_SYNCS names is there, no sync of a journal
   succeeds. A kill cannot show a missing sync, for the system keeps what was written. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_failing(int file) {
    const char *marker = getenv("FAIL_JOURNAL_SYNCS");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (marker == NULL || length < 0 || access(marker, F_OK) != 0)
        return 0;
    path[length] = '\0';
    return strstr(path, "/journal.sqlite") != NULL;
}

static int sync_by(const char *name, int file) {
    int (*system)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (is_failing(file)) {
        errno = EIO;
        return -1;
    }
    return system(file);
}

int fsync(int file) { return sync_by("fsync", file); }
int fdatasync(int file) { return sync_by("fdatasync", file); }
