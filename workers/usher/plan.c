/* The plan and the command, as the worker wrote them.
 *
 * Strict: a plan that is not understood in full can't be obeyed. A missing, unknown, doubled or
 * senseless entry is an error, and the job ends before the app was started.
 */
#include "usher.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define LONGEST_MS (INT64_C(10) * 365 * 24 * 3600 * 1000) /* no duration is longer: ten years */

struct entry {
    const char *key;
    int64_t *value;
    int64_t lowest, highest;
    bool seen;
};

static bool number(const char *text, int64_t lowest, int64_t highest, int64_t *value)
{
    int64_t sum = 0;
    if (*text == '\0' || strlen(text) > 18)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        sum = sum * 10 + (*text - '0');
    }
    *value = sum;
    return sum >= lowest && sum <= highest;
}

/* It goes into a request line as it is: no spaces, no control characters. */
static bool path(const char *text, char *value, size_t size)
{
    if (*text != '/' || strlen(text) >= size)
        return false;
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return false;
    strcpy(value, text);
    return true;
}

static bool take(struct plan *plan, struct entry *entries, const char *key, const char *text)
{
    if (strcmp(key, "health_path") == 0)
        return plan->health_path[0] == '\0'
            && path(text, plan->health_path, sizeof plan->health_path);
    for (struct entry *e = entries; e->key != NULL; e++) {
        if (strcmp(key, e->key) != 0)
            continue;
        if (e->seen)
            return false;
        e->seen = true;
        return number(text, e->lowest, e->highest, e->value);
    }
    return false;
}

static bool take_lines(struct plan *plan, struct entry *entries, char *text)
{
    char *rest = text;
    while (*rest != '\0') {
        char *end = strchr(rest, '\n');
        char *space = strchr(rest, ' ');
        if (end == NULL || space == NULL || space > end)
            return false;
        *end = *space = '\0';
        if (!take(plan, entries, rest, space + 1))
            return false;
        rest = end + 1;
    }
    for (struct entry *e = entries; e->key != NULL; e++)
        if (!e->seen)
            return false;
    return plan->health_path[0] != '\0';
}

int plan_read(struct plan *plan)
{
    static char text[16 * 1024];
    size_t length = 0;
    int64_t version = 0;
    struct entry entries[] = {
        {"version", &version, 1, 1, false},
        {"port", &plan->port, 1, 65535, false},
        {"health_enabled", &plan->health_enabled, 0, 1, false},
        {"health_port", &plan->health_port, 1, 65535, false},
        {"health_timeout_ms", &plan->health_timeout_ms, 1, LONGEST_MS, false},
        {"startup_ms", &plan->startup_ms, 0, LONGEST_MS, false},
        {"deadline_ms", &plan->deadline_ms, 1, LONGEST_MS, false},
        {"grace_ms", &plan->grace_ms, 0, LONGEST_MS, false},
        {"stop_signal", &plan->stop_signal, 1, SIGRTMAX, false},
        {"response_limit", &plan->response_limit, 0, INT64_MAX, false},
        {NULL, NULL, 0, 0, false},
    };
    int error = spool_read("plan", text, sizeof text - 1, &length);
    if (error != 0)
        return error;
    memset(plan, 0, sizeof *plan);
    text[length] = '\0';
    if (strlen(text) != length || !take_lines(plan, entries, text))
        return EINVAL;
    return 0;
}

int argv_read(char ***argv)
{
    static char text[1024 * 1024];
    static char *list[64 * 1024];
    size_t length = 0, count = 0;
    int error = spool_read("argv", text, sizeof text, &length);
    if (error != 0)
        return error == EFBIG ? E2BIG : error;
    if (length > 0 && text[length - 1] != '\0')
        return EINVAL;
    for (size_t at = 0; at < length; at += strlen(text + at) + 1) {
        if (count + 1 == sizeof list / sizeof *list)
            return E2BIG;
        list[count++] = text + at;
    }
    list[count] = NULL;
    *argv = list;
    return 0;
}
