/* The spool: one directory, shared with the worker and with the app.
 *
 * The app can write here too. What concerns us is opened before the app starts, and what we make
 * later is made anew (unlink, O_EXCL, no links followed), so the app can't have us write elsewhere
 * or wait at a FIFO. What it forges concerns its own job alone.
 */
#include "usher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS_RESERVE 4096

static int folder = -1;
static int events = -1;
static int body = -1;
static int events_error; /* why nothing more can be noted, 0 if it can */

static int write_all(int handle, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(handle, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? errno : EIO;
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* The mode is set by hand: the image's umask is the app's, and not touched. */
static int make(const char *name, int *handle)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    *handle = openat(folder, name, flags, 0644);
    if (*handle < 0)
        return errno;
    return fchmod(*handle, 0644) < 0 ? errno : 0;
}

int spool_open(const char *path)
{
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder < 0 ? errno : 0;
}

int spool_mark(void)
{
    int handle;
    int error = make("started", &handle);
    if (handle >= 0)
        close(handle);
    return error;
}

/* The worker has made the file, so that it can be watched; then it is root's and its mode stays.
 * Non-blocking, because at a second start it may be a FIFO. A page is set aside for it, so that
 * the end can be told when the app has filled the disk; not every file system can do that. */
int spool_events(void)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    struct stat status;
    events = openat(folder, "events", flags & ~O_CREAT);
    if (events < 0 && errno == ENOENT)
        events = openat(folder, "events", flags, 0644);
    if (events < 0)
        return events_error = errno;
    if (fstat(events, &status) < 0)
        return events_error = errno;
    if (!S_ISREG(status.st_mode))
        return events_error = EINVAL;
    if (status.st_uid == geteuid() && fchmod(events, 0644) < 0)
        return events_error = errno;
    (void)fallocate(events, FALLOC_FL_KEEP_SIZE, 0, EVENTS_RESERVE);
    return 0;
}

int spool_read(const char *name, char *buffer, size_t size, size_t *length)
{
    int handle;
    int error = spool_handle(name, &handle);
    if (error != 0)
        return error;
    *length = 0;
    for (;;) {
        char more;
        bool full = *length == size;
        ssize_t got = full ? read(handle, &more, 1)
            : read(handle, buffer + *length, size - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || full) {
            error = got < 0 ? errno : got > 0 ? EFBIG : 0;
            break;
        }
        *length += (size_t)got;
    }
    close(handle);
    return error;
}

int spool_handle(const char *name, int *handle)
{
    *handle = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return *handle < 0 ? errno : 0;
}

/* A line goes in with one write, whole or not at all: half a line would spoil the next one. */
static int append(const char *line, size_t size)
{
    ssize_t written = write(events, line, size);
    struct stat status;
    if (written == (ssize_t)size)
        return 0;
    int error = written < 0 ? errno : ENOSPC;
    if (written > 0
        && (fstat(events, &status) < 0 || ftruncate(events, status.st_size - written) < 0))
        events_error = errno;
    return error;
}

int spool_event(const char *format, ...)
{
    char line[256];
    va_list arguments;
    if (events_error != 0)
        return events_error;
    int size = snprintf(line, sizeof line, "%lld ", (long long)clock_real());
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof line - (size_t)size - 1, format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof line - 1)
        return EMSGSIZE; /* no event is that long */
    line[size++] = '\n';
    return append(line, (size_t)size);
}

/* The body's file is there from the start, as most bodies but not all have bytes. */
int spool_head(const char *bytes, size_t size)
{
    int head;
    spool_drop();
    int error = make("response.head", &head);
    if (error == 0)
        error = write_all(head, bytes, size);
    if (head >= 0 && close(head) < 0 && error == 0)
        error = errno;
    return error == 0 ? make("response.body", &body) : error;
}

int spool_body(const char *bytes, size_t size)
{
    return write_all(body, bytes, size);
}

int spool_keep(void)
{
    int error = close(body) < 0 ? errno : 0;
    body = -1;
    return error;
}

/* Also makes room for the event that tells why. */
void spool_drop(void)
{
    if (body >= 0)
        close(body);
    body = -1;
    unlinkat(folder, "response.head", 0);
    unlinkat(folder, "response.body", 0);
}
