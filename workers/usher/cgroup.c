/* What the kernel counted for the replica's cgroup, version 1 or 2.
 *
 * With a cgroup namespace, and with the engine's mounts of version 1, the replica's own group is
 * the root of what is mounted; otherwise it lies under the path that /proc/self/cgroup tells.
 */
#include "usher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool slurp(const char *path, char *text, size_t size)
{
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return false;
    ssize_t length = read(handle, text, size - 1);
    close(handle);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* The path in the hierarchy of `controller` ("" for version 2), or "" if it is not told.
 * Lines are `number:controllers:path`. */
static void own_path(const char *controller, char *path, size_t size)
{
    static char text[8192];
    path[0] = '\0';
    if (!slurp("/proc/self/cgroup", text, sizeof text))
        return;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *names = strchr(line, ':');
        char *rest = names != NULL ? strchr(names + 1, ':') : NULL;
        if (rest == NULL)
            continue;
        *rest++ = '\0';
        if (strcmp(names + 1, controller) == 0 && strcmp(rest, "/") != 0)
            snprintf(path, size, "%s", rest);
    }
}

static bool read_fact(const char *mount, const char *controller, const char *file,
                      char *text, size_t size)
{
    char group[2048], path[4096];
    own_path(controller, group, sizeof group);
    snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
    if (slurp(path, text, size))
        return true;
    snprintf(path, sizeof path, "%s/%s", mount, file);
    return slurp(path, text, size);
}

static int64_t to_number(const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end == text || errno != 0 ? -1 : value;
}

/* The number after `name ` at the start of a line. */
static int64_t field(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return to_number(line + length + 1);
    }
    return -1;
}

struct memory_facts cgroup_memory(void)
{
    static const char first[] = "/sys/fs/cgroup/memory", second[] = "/sys/fs/cgroup";
    struct memory_facts facts = {-1, -1};
    char text[4096];
    if (read_fact(first, "memory", "memory.oom_control", text, sizeof text))
        facts.oom_kills = field(text, "oom_kill");
    else if (read_fact(second, "", "memory.events", text, sizeof text))
        facts.oom_kills = field(text, "oom_kill");
    if (read_fact(first, "memory", "memory.max_usage_in_bytes", text, sizeof text)
        || read_fact(second, "", "memory.peak", text, sizeof text))
        facts.peak = to_number(text);
    return facts;
}
