/* Stands between a process and its disk, as a preloaded library. ENGRAM_FAULTS names a directory:
 * while a file of a fault's name lies in it, the fault is on.
 *
 *   sync   fsync and fdatasync fail with EIO
 *   full   writing to a regular file fails with ENOSPC, but for the standard streams
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_on(const char *fault) {
    const char *directory = getenv("ENGRAM_FAULTS");
    char path[PATH_MAX];
    if (!directory || snprintf(path, sizeof path, "%s/%s", directory, fault) >= PATH_MAX)
        return 0;
    return access(path, F_OK) == 0;
}

static int is_full(int fd) {
    struct stat found;
    int saved = errno;
    int full = fd > STDERR_FILENO && is_on("full") && fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    errno = full ? ENOSPC : saved;
    return full;
}

static int sync_fails(void) {
    int saved = errno;
    int fails = is_on("sync");
    errno = fails ? EIO : saved;
    return fails;
}

#define NEXT(name, type) ((type)dlsym(RTLD_NEXT, name))

int fsync(int fd) {
    return sync_fails() ? -1 : NEXT("fsync", int (*)(int))(fd);
}

int fdatasync(int fd) {
    return sync_fails() ? -1 : NEXT("fdatasync", int (*)(int))(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (is_full(fd))
        return -1;
    return NEXT("write", ssize_t (*)(int, const void *, size_t))(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (is_full(fd))
        return -1;
    return NEXT("writev", ssize_t (*)(int, const struct iovec *, int))(fd, parts, count);
}
