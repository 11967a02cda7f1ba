/* Faults for a process under test, loaded before the C library (LD_PRELOAD).
 *
 * FAULTS_FILE names a file with one line, read whenever a fault could happen:
 *     full DIR     files under DIR cannot grow (ENOSPC)
 *     unsynced DIR files under DIR cannot be fsynced (EIO)
 *     clock S      the wall clock is S seconds off; the monotonic one is left alone
 *     grow MIB     the next trainer of the process takes so much memory, MiB after MiB, for as long as it trains
 *     none
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* What the file asks for: the word, and what stands after it. By system calls, so that nothing here meets its own faults. */
static int asked(char *word, size_t word_size, char *rest, size_t rest_size) {
    const char *path = getenv("FAULTS_FILE");
    char line[4200];
    if (!path)
        return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return 0;
    long got = syscall(SYS_read, file, line, sizeof line - 1);
    syscall(SYS_close, file);
    if (got <= 0)
        return 0;
    line[got] = 0;
    line[strcspn(line, "\n")] = 0;
    char *space = strchr(line, ' ');
    if (!space)
        return 0;
    *space = 0;
    snprintf(word, word_size, "%s", line);
    snprintf(rest, rest_size, "%s", space + 1);
    return 1;
}

/* Whether the fault `wanted` is asked for and the open file lies where it is. */
static int strikes(const char *wanted, int file) {
    int before = errno;
    char word[16], folder[4096], link[64], path[4096];
    int strikes = 0;
    if (asked(word, sizeof word, folder, sizeof folder) && !strcmp(word, wanted)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        long got = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
        if (got > 0) {
            path[got] = 0;
            strikes = !strncmp(path, folder, strlen(folder));
        }
    }
    errno = before;
    return strikes;
}

static int grows(int file, off_t end) {
    struct stat stat;
    return strikes("full", file) && !fstat(file, &stat) && S_ISREG(stat.st_mode) && end > stat.st_size;
}

#define REAL(name)                                            \
    static __typeof__(&name) real;                            \
    if (!real)                                                \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL(code) do { errno = code; return -1; } while (0)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    off_t at = lseek(file, 0, SEEK_CUR);
    int flags = fcntl(file, F_GETFL);
    struct stat stat;
    if (flags >= 0 && (flags & O_APPEND) && !fstat(file, &stat))
        at = stat.st_size;
    if (at >= 0 && grows(file, at + (off_t)count))
        FAIL(ENOSPC);
    return real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    REAL(pwrite);
    if (grows(file, at + (off_t)count))
        FAIL(ENOSPC);
    return real(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    if (grows(file, (off_t)at + (off_t)count))
        FAIL(ENOSPC);
    return real(file, bytes, count, at);
}

int ftruncate(int file, off_t size) {
    REAL(ftruncate);
    if (grows(file, size))
        FAIL(ENOSPC);
    return real(file, size);
}

int ftruncate64(int file, off64_t size) {
    REAL(ftruncate64);
    if (grows(file, (off_t)size))
        FAIL(ENOSPC);
    return real(file, size);
}

int fsync(int file) {
    REAL(fsync);
    if (strikes("unsynced", file))
        FAIL(EIO);
    return real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    if (strikes("unsynced", file))
        FAIL(EIO);
    return real(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int done = real(clock, now);
    char word[16], seconds[4096];
    if (!done && clock == CLOCK_REALTIME && asked(word, sizeof word, seconds, sizeof seconds) && !strcmp(word, "clock"))
        now->tv_sec += atol(seconds);
    return done;
}

struct growth {
    char *block;
    size_t wanted;
    atomic_bool over;
    pthread_t thread;
};

static void *grow(void *given) {
    struct growth *growth = given;
    for (size_t taken = 0; taken < growth->wanted && !growth->over; taken += 1 << 20) {
        memset(growth->block + taken, 1, 1 << 20);
        usleep(2000);
    }
    return NULL;
}

/* At the end of the trainer's thread. */
static void shrink(void *given) {
    struct growth *growth = given;
    growth->over = 1;
    pthread_join(growth->thread, NULL);
    munmap(growth->block, growth->wanted);
    free(growth);
}

static pthread_key_t growing;

static void name_key(void) {
    pthread_key_create(&growing, shrink);
}

static void begin_to_grow(size_t wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct growth *growth = calloc(1, sizeof *growth);
    growth->wanted = wanted;
    growth->block = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (growth->block == MAP_FAILED || pthread_create(&growth->thread, NULL, grow, growth))
        abort();
    pthread_once(&once, name_key);
    pthread_setspecific(growing, growth);
}

/* A thread tells its name at its beginning: that is how a trainer is known. */
int pthread_setname_np(pthread_t thread, const char *name) {
    REAL(pthread_setname_np);
    static atomic_flag grown = ATOMIC_FLAG_INIT;
    char word[16], size[4096];
    if (!strcmp(name, "trainer") && asked(word, sizeof word, size, sizeof size) && !strcmp(word, "grow") && !atomic_flag_test_and_set(&grown))
        begin_to_grow((size_t)atol(size) << 20);
    return real(thread, name);
}
