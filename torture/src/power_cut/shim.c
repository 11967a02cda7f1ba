/* Records what a process does to files under one folder, in the order in which it takes effect.
 *
 * Loaded with LD_PRELOAD. TRAINYARD_IO_ROOT is the folder, TRAINYARD_IO_RECORD the file that the record is appended to. Each entry is
 * a line "operation inode offset length path-length other-length", and then the bytes: of the path, of the other path, of the data.
 * The operation and its entry are one step under a lock, so an entry never stands before an operation that took effect earlier, and
 * what a client was told after an operation, it was told after the operation's entry.
 *
 * SIGUSR2 kills the process as SIGKILL does, but never between an operation and its entry.
 *
 * SQLite's -shm file is left out: it is shared memory, and made anew after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static const char *root;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

/* An operation and its entry: no kill comes between them. */
static void hold(void) {
    sigset_t kills;
    sigemptyset(&kills);
    sigaddset(&kills, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &kills, NULL);
    pthread_mutex_lock(&lock);
}

static void release(void) {
    sigset_t kills;
    sigemptyset(&kills);
    sigaddset(&kills, SIGUSR2);
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_UNBLOCK, &kills, NULL);
}

/* Runs on a thread that does not hold the lock, since that one has blocked the signal. */
static void killed(int signal) {
    (void)signal;
    pthread_mutex_lock(&lock);
    kill(getpid(), SIGKILL);
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("TRAINYARD_IO_ROOT");
    const char *file = getenv("TRAINYARD_IO_RECORD");
    if (!root || !file) return;
    record = REAL(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct sigaction action = {.sa_handler = killed};
    sigaction(SIGUSR2, &action, NULL);
}

static int ours(const char *path) {
    if (record < 0 || !path || strncmp(path, root, strlen(root)) != 0) return 0;
    size_t length = strlen(path);
    return !(length > 4 && strcmp(path + length - 4, "-shm") == 0);
}

/* The path of an open file; 0 where it is not ours. */
static int path_of(int fd, char *path) {
    char link[64];
    if (record < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return ours(path);
}

static unsigned long inode(int fd) {
    struct stat stat;
    return fstat(fd, &stat) == 0 ? stat.st_ino : 0;
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = REAL(write)(record, at, length);
        if (done < 0) {
            if (errno == EINTR) continue;
            abort();
        }
        at += done;
        length -= (size_t)done;
    }
}

static void entry(const char *operation, unsigned long ino, long long offset, const char *path, const char *other, const void *data, size_t length) {
    char head[160];
    size_t one = path ? strlen(path) : 0, two = other ? strlen(other) : 0;
    int saved = errno, size = snprintf(head, sizeof head, "%s %lu %lld %zu %zu %zu\n", operation, ino, offset, length, one, two);
    size_t whole = (size_t)size + one + two + length;
    /* In one piece, so that the record is never seen with half an entry. */
    char *piece = malloc(whole);
    if (!piece) abort();
    memcpy(piece, head, (size_t)size);
    if (one) memcpy(piece + size, path, one);
    if (two) memcpy(piece + size + one, other, two);
    if (length) memcpy(piece + size + one + two, data, length);
    put(piece, whole);
    free(piece);
    errno = saved;
}

static int opened(int (*call)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (!ours(path) || !(flags & (O_CREAT | O_TRUNC))) return call(path, flags, mode);
    hold();
    int existed = faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = call(path, flags, mode);
    if (fd >= 0 && !existed) entry("create", inode(fd), 0, path, NULL, NULL, 0);
    if (fd >= 0 && existed && (flags & O_TRUNC)) entry("truncate", inode(fd), 0, path, NULL, NULL, 0);
    release();
    return fd;
}

static mode_t mode_of(int flags, va_list list) { return flags & O_CREAT ? (mode_t)va_arg(list, int) : 0; }

#define OPEN(name)                                                                                                                       \
    int name(const char *path, int flags, ...) {                                                                                          \
        va_list list;                                                                                                                     \
        va_start(list, flags);                                                                                                            \
        mode_t mode = mode_of(flags, list);                                                                                               \
        va_end(list);                                                                                                                     \
        return opened(REAL(name), path, flags, mode);                                                                                     \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                                     \
    int name(int folder, const char *path, int flags, ...) {                                                                              \
        va_list list;                                                                                                                     \
        va_start(list, flags);                                                                                                            \
        mode_t mode = mode_of(flags, list);                                                                                               \
        va_end(list);                                                                                                                     \
        if (!ours(path) || !(flags & (O_CREAT | O_TRUNC))) return REAL(name)(folder, path, flags, mode);                                  \
        return opened(REAL(open), path, flags, mode);                                                                                     \
    }
OPENAT(openat)
OPENAT(openat64)

static ssize_t written(int fd, const void *data, ssize_t done, long long offset, const char *path) {
    if (done > 0) entry("write", inode(fd), offset, path, NULL, data, (size_t)done);
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    if (fd == record || !path_of(fd, path)) return REAL(write)(fd, data, length);
    hold();
    ssize_t done = REAL(write)(fd, data, length);
    long long end = REAL(lseek)(fd, 0, SEEK_CUR);
    written(fd, data, done, end - done, path);
    release();
    return done;
}

#define PWRITE(name, offset_type)                                                                                                        \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset) {                                                           \
        char path[PATH_MAX];                                                                                                              \
        if (!path_of(fd, path)) return REAL(name)(fd, data, length, offset);                                                              \
        hold();                                                                                                                           \
        ssize_t done = written(fd, data, REAL(name)(fd, data, length, offset), offset, path);                                             \
        release();                                                                                                                        \
        return done;                                                                                                                      \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return REAL(writev)(fd, pieces, count);
    ssize_t total = 0;
    for (int piece = 0; piece < count; piece++) {
        ssize_t done = write(fd, pieces[piece].iov_base, pieces[piece].iov_len);
        if (done < 0) return total > 0 ? total : done;
        total += done;
        if ((size_t)done < pieces[piece].iov_len) break;
    }
    return total;
}

#define TRUNCATE(name, offset_type)                                                                                                      \
    int name(int fd, offset_type length) {                                                                                                \
        char path[PATH_MAX];                                                                                                              \
        if (!path_of(fd, path)) return REAL(name)(fd, length);                                                                            \
        hold();                                                                                                                           \
        int done = REAL(name)(fd, length);                                                                                                \
        if (done == 0) entry("truncate", inode(fd), length, path, NULL, NULL, 0);                                                         \
        release();                                                                                                                        \
        return done;                                                                                                                      \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                                                                                       \
    int name(int fd) {                                                                                                                    \
        char path[PATH_MAX];                                                                                                              \
        if (!path_of(fd, path)) return REAL(name)(fd);                                                                                    \
        hold();                                                                                                                           \
        int done = REAL(name)(fd);                                                                                                        \
        struct stat stat;                                                                                                                 \
        int folder = fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode);                                                                      \
        if (done == 0) entry(folder ? "syncdir" : "sync", inode(fd), 0, path, NULL, NULL, 0);                                             \
        release();                                                                                                                        \
        return done;                                                                                                                      \
    }
SYNC(fsync)
SYNC(fdatasync)

static int renamed(int done, const char *from, const char *to) {
    if (done == 0) entry("rename", 0, 0, from, to, NULL, 0);
    return done;
}

int rename(const char *from, const char *to) {
    if (!ours(from)) return REAL(rename)(from, to);
    hold();
    int done = renamed(REAL(rename)(from, to), from, to);
    release();
    return done;
}

int renameat(int one, const char *from, int two, const char *to) {
    if (!ours(from)) return REAL(renameat)(one, from, two, to);
    hold();
    int done = renamed(REAL(renameat)(one, from, two, to), from, to);
    release();
    return done;
}

int renameat2(int one, const char *from, int two, const char *to, unsigned int flags) {
    if (!ours(from)) return REAL(renameat2)(one, from, two, to, flags);
    hold();
    int done = renamed(REAL(renameat2)(one, from, two, to, flags), from, to);
    release();
    return done;
}

static int removed(int done, const char *path) {
    if (done == 0) entry("unlink", 0, 0, path, NULL, NULL, 0);
    return done;
}

int unlink(const char *path) {
    if (!ours(path)) return REAL(unlink)(path);
    hold();
    int done = removed(REAL(unlink)(path), path);
    release();
    return done;
}

int unlinkat(int folder, const char *path, int flags) {
    char whole[PATH_MAX];
    if (path[0] != '/' && folder != AT_FDCWD) {
        char base[PATH_MAX / 2];
        if (record < 0) return REAL(unlinkat)(folder, path, flags);
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        base[length < 0 ? 0 : length] = 0;
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    } else {
        snprintf(whole, sizeof whole, "%s", path);
    }
    if (!ours(whole)) return REAL(unlinkat)(folder, path, flags);
    hold();
    int done = removed(REAL(unlinkat)(folder, path, flags), whole);
    release();
    return done;
}

int rmdir(const char *path) {
    if (!ours(path)) return REAL(rmdir)(path);
    hold();
    int done = removed(REAL(rmdir)(path), path);
    release();
    return done;
}

int mkdir(const char *path, mode_t mode) {
    if (!ours(path)) return REAL(mkdir)(path, mode);
    hold();
    int done = REAL(mkdir)(path, mode);
    if (done == 0) entry("mkdir", 0, 0, path, NULL, NULL, 0);
    release();
    return done;
}

int mkdirat(int folder, const char *path, mode_t mode) {
    if (!ours(path)) return REAL(mkdirat)(folder, path, mode);
    return mkdir(path, mode);
}
