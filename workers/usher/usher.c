/* The usher: process 1 of every replica.
 *
 *     usher SPOOL_DIRECTORY
 *
 * It runs one command once, waits until it is healthy, sends it one HTTP request over loopback,
 * stores the response, reaps every process of the replica, holds the deadline, and ends with the
 * command's own exit code. It has no policy: all it does is in the plan. So a job needs no living
 * worker to run to its end, and nothing of the image: no shell, no library, no user but its own.
 *
 * The spool directory is the only interface.
 *   Read   plan       `key value` lines: see plan.c
 *          argv       the command, each string ended by NUL
 *          request    the whole HTTP request, sent as it is
 *   Made   started    the run-once marker
 *          events     one line an event, `<microseconds> <name>[ key=value]...`
 *          response.head, response.body    there if and only if `responded` is
 *
 * The order, which others rely on:
 *   1. The marker is taken, before anything else. If it is there already: event `refused`, exit
 *      125. An engine that starts a stopped container again does not run the job again.
 *   2. The command is started: event `started`, or `exec_failed errno=`.
 *   3. The app is polled until healthy: event `healthy`. Without a health check, until its port
 *      accepts a connection.
 *   4. Event `sent`, and only then the first byte of the request.
 *   5. The response is stored, and only then event `responded status= bytes=`; or event
 *      `response_failed why=closed|truncated|malformed|too_large|io errno=`, and nothing is stored.
 *   6. The job is over when the app's process ends, whatever it answered. What it has left in the
 *      socket is taken first, then whoever is left in the replica is killed, then event
 *      `exited code=|signal= oom_kills= memory_peak=`, always the last one.
 *   At any time before the app has ended, the deadline, the bound on the start (until `sent`) or
 *   SIGTERM: event `stopping why=deadline|startup|signal health=none|refused|unhealthy|healthy`,
 *   the stop signal to all, who is left after the grace is killed (event `killed`).
 *   If the usher itself can't go on: event `error what= errno=`, exit 125.
 *
 * One thread, one loop, nothing in it blocks. Time is CLOCK_BOOTTIME, which a suspended machine
 * does not stop. The usher can't be traced by a process of its own user (it is not dumpable), and
 * process 1 can't be killed from inside.
 */
#include "usher.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Also into the app's log, which is where a person looks first, and all there is when the spool
 * can't be written. */
int give_up(const char *what, int error)
{
    (void)spool_event("error what=%s errno=%d", what, error);
    dprintf(STDERR_FILENO, "onejob: %s: %s\n", what, strerror(error));
    return EXIT_USHER;
}

static int open_request(int *request)
{
    char first;
    int error = spool_handle("request", request);
    if (error != 0)
        return error;
    ssize_t got = pread(*request, &first, 1, 0);
    return got < 0 ? errno : got == 0 ? ENODATA : 0;
}

/* The two clocks are read one right after the other, in this order: we may be kept waiting in
 * between, and the app must not be stopped before the deadline that it was told. */
static int run(void)
{
    static struct plan plan;
    int64_t start_real = clock_real();
    int64_t start = clock_now();
    char **argv;
    int request, error;
    if ((error = plan_read(&plan)) != 0)
        return give_up("plan", error);
    if ((error = argv_read(&argv)) != 0)
        return give_up("argv", error);
    if ((error = open_request(&request)) != 0)
        return give_up("request", error);
    struct job job = {
        .plan = &plan, .command = argv[0], .request = request,
        .deadline = start + plan.deadline_ms,
        .deadline_real = start_real + plan.deadline_ms * 1000,
        .startup_end = plan.startup_ms > 0 ? start + plan.startup_ms : NEVER,
    };
    if ((error = app_start(argv, job.deadline_real)) != 0)
        return give_up("start", error);
    return loop_run(&job);
}

static int prepare(void)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? errno : loop_prepare();
}

/* Signals are held from the first moment on: one that comes early is not lost. */
int main(int count, char **arguments)
{
    int unready = prepare(), error;
    if (count != 2) {
        dprintf(STDERR_FILENO, "usage: %s SPOOL_DIRECTORY\n", count > 0 ? arguments[0] : "usher");
        return EXIT_USHER;
    }
    if ((error = spool_open(arguments[1])) != 0)
        return give_up("spool", error);
    int marked = spool_mark();
    int noted = spool_events();
    if (marked == EEXIST) {
        (void)spool_event("refused");
        dprintf(STDERR_FILENO, "onejob: this replica ran before and does not run again\n");
        return EXIT_USHER;
    }
    if (marked != 0)
        return give_up("marker", marked);
    if (noted != 0)
        return give_up("events", noted);
    return unready != 0 ? give_up("process", unready) : run();
}
