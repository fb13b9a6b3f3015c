/* A disk that fails at its n-th call, put between the program and the C library by LD_PRELOAD.

   Unlike strace it counts over all threads, so that each call of a process can be the one that fails, and it costs no
   stop at every call. What it counts lies in a file that the test maps, so that even a killed process leaves it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { PWRITE, PREAD, FTRUNCATE, SYNC };

struct state {
    unsigned seen, failed;
};

static struct state *state;
static const char *prefix = "";
static int call, sticky;
static unsigned when;

/* Fail the when-th of these calls on files whose path begins so, or all from then on; when = 0: only count.
   No dot may follow: q.db stands for q.db-wal and q.db-shm too, but not for q.db.spill, which is no file of SQLite's. */
int failing_disk(const char *file, const char *path, int which, unsigned number, int for_ever)
{
    int descriptor = open(file, O_RDWR | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped == MAP_FAILED)
        return -1;
    prefix = strdup(path);
    call = which;
    when = number;
    sticky = for_ever;
    state = mapped;
    return 0;
}

static int fails(int which, int descriptor)
{
    char link[40], path[4096];
    ssize_t length;
    unsigned number;
    int before = errno;

    if (!state || which != call)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    errno = before;
    path[length < 0 ? 0 : length] = 0;
    if (strncmp(path, prefix, strlen(prefix)) || path[strlen(prefix)] == '.')
        return 0;
    number = __atomic_add_fetch(&state->seen, 1, __ATOMIC_SEQ_CST);
    if (!when || number < when || (number > when && !sticky))
        return 0;
    __atomic_add_fetch(&state->failed, 1, __ATOMIC_SEQ_CST);
    errno = EIO;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define WRITER(name, offset)                                                                                           \
    ssize_t name(int descriptor, const void *data, size_t size, offset at)                                             \
    {                                                                                                                  \
        return fails(PWRITE, descriptor) ? -1 : REAL(name)(descriptor, data, size, at);                                \
    }
#define READER(name, offset)                                                                                           \
    ssize_t name(int descriptor, void *data, size_t size, offset at)                                                   \
    {                                                                                                                  \
        return fails(PREAD, descriptor) ? -1 : REAL(name)(descriptor, data, size, at);                                 \
    }
#define CUTTER(name, offset)                                                                                           \
    int name(int descriptor, offset size)                                                                              \
    {                                                                                                                  \
        return fails(FTRUNCATE, descriptor) ? -1 : REAL(name)(descriptor, size);                                       \
    }
#define SYNCER(name)                                                                                                   \
    int name(int descriptor)                                                                                           \
    {                                                                                                                  \
        return fails(SYNC, descriptor) ? -1 : REAL(name)(descriptor);                                                  \
    }

WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)
READER(pread, off_t)
READER(pread64, off64_t)
CUTTER(ftruncate, off_t)
CUTTER(ftruncate64, off64_t)
SYNCER(fsync)
SYNCER(fdatasync)
