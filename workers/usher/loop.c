/* From the command's start to its end: one loop over what exec said, the talk with the app,
 * signals, and what is due. The order of things is told in usher.c. */
#include "usher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GLANCE_MS 200    /* for what is readable at the end, before anyone is killed */
#define END_MS 500       /* for killed processes to be reaped */
#define DRAIN_MS 2000    /* for what they left in the socket, all of it */
#define SILENCE_MS 200   /* and for the next bytes of it */

enum { SIGNALS, TIMER, EXEC, TALK, SOURCES };

static const struct job *job;
static int64_t grace_end = NEVER;
static bool stopping, killed;
static int exec_error;
static int sources[SOURCES] = {-1, -1, -1, -1};

/* --- Reports -------------------------------------------------------------------------------- */

static int report_exit(void)
{
    struct memory_facts memory = cgroup_memory();
    int status = app_status();
    int code = WEXITSTATUS(status);
    const char *how = "code";
    if (exec_error != 0)
        code = exec_error == ENOENT || exec_error == ENOTDIR ? 127 : 126;
    else if (WIFSIGNALED(status))
        how = "signal", code = WTERMSIG(status);
    (void)spool_event("exited %s=%d oom_kills=%lld memory_peak=%lld", how, code,
                      (long long)memory.oom_kills, (long long)memory.peak);
    return *how == 's' ? 128 + code : code;
}

static void report_start(void)
{
    exec_error = app_exec_result();
    if (exec_error == 0) {
        (void)spool_event("started pid=%d deadline=%lld", (int)app_pid(),
                          (long long)job->deadline_real);
        return;
    }
    (void)spool_event("exec_failed errno=%d", exec_error);
    dprintf(STDERR_FILENO, "onejob: cannot execute %s: %s\n",
            job->command != NULL ? job->command : "nothing: the image has no command",
            strerror(exec_error));
}

/* --- The end -------------------------------------------------------------------------------- */

/* The first reason counts, and its grace. An app that ended before it is judged by its own end,
 * even where we hear of both at once. */
static void stop(const char *why)
{
    static const char *const health[] = {"none", "refused", "unhealthy", "healthy"};
    app_reap();
    if (stopping || app_gone())
        return;
    stopping = true;
    (void)spool_event("stopping why=%s health=%s", why, health[talk_health()]);
    talk_stop();
    grace_end = clock_now() + job->plan->grace_ms;
    app_signal((int)job->plan->stop_signal);
}

/* The rest of the app's family gets the grace, too: a shell in front of the app may be gone at the
 * first signal, while the app still finishes its answer. */
static bool over(void)
{
    return killed || (app_gone() && (!stopping || app_all_gone()));
}

/* First without killing anyone: a killed process that has input unread resets the connection, and
 * what is still on its way is lost. What exec said may be unread, if a signal came in between. */
static int finish(void)
{
    exchange_drain(clock_now() + GLANCE_MS, 0);
    app_end(END_MS);
    exchange_drain(clock_now() + DRAIN_MS, SILENCE_MS);
    exchange_end(!stopping || (app_gone() && WIFEXITED(app_status())));
    if (app_exec_pipe() >= 0)
        report_start();
    return report_exit();
}

/* --- The loop ------------------------------------------------------------------------------- */

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_due(void)
{
    if (stopping)
        return earliest(grace_end, talk_due());
    return earliest(earliest(job->deadline, talk_due()), talk_sent() ? NEVER : job->startup_end);
}

/* What is due in the past rings at once; zero would mean never. */
static int arm(int64_t when)
{
    struct itimerspec setting = {.it_value = {.tv_sec = when > 0 ? when / 1000 : 0,
                                              .tv_nsec = when > 0 ? when % 1000 * 1000000 : 1}};
    return timerfd_settime(sources[TIMER], TFD_TIMER_ABSTIME, &setting, NULL) < 0 ? errno : 0;
}

static void tick(void)
{
    int64_t now = clock_now();
    if (!stopping && now >= job->deadline)
        stop("deadline");
    if (!stopping && !talk_sent() && now >= job->startup_end)
        stop("startup");
    if (stopping && now >= grace_end) {
        (void)spool_event("killed");
        killed = true;
    }
    if (!killed)
        talk_tick(now);
}

static void take_signals(void)
{
    struct signalfd_siginfo info;
    while (read(sources[SIGNALS], &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            stop("signal");
    }
    app_reap(); /* signals of one kind melt together: one may tell of many */
}

static int wait_for_something(short *ready)
{
    struct pollfd polled[SOURCES];
    int error = arm(next_due());
    if (error != 0)
        return error;
    for (int i = 0; i < SOURCES; i++)
        polled[i] = (struct pollfd){.fd = sources[i], .events = POLLIN};
    polled[EXEC].fd = app_exec_pipe();
    polled[TALK].fd = talk_socket(&polled[TALK].events);
    if (poll(polled, SOURCES, -1) < 0 && errno != EINTR)
        return errno;
    for (int i = 0; i < SOURCES; i++)
        ready[i] = polled[i].revents;
    return 0;
}

/* What exec said is read before signals are: the end of a command that never ran comes with it. */
int loop_run(const struct job *the_job)
{
    job = the_job;
    while (!over()) {
        short ready[SOURCES];
        int error = wait_for_something(ready);
        if (error != 0) {
            app_end(END_MS);
            return give_up("poll", error);
        }
        if (ready[EXEC] != 0) {
            report_start();
            if (exec_error == 0 && !stopping)
                talk_begin(job->plan, job->request);
        }
        if (ready[TALK] != 0)
            talk_ready(ready[TALK]);
        if (ready[SIGNALS] != 0)
            take_signals();
        if (!over())
            tick();
    }
    return finish();
}

/* --- The beginning -------------------------------------------------------------------------- */

/* Blocked signals wait in the descriptor; also those that process 1 would not get by default. */
static int prepare_signals(void)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGQUIT);
    sigaddset(&wanted, SIGHUP);
    if (sigprocmask(SIG_SETMASK, &wanted, NULL) < 0
        || signal(SIGCHLD, SIG_DFL) == SIG_ERR     /* ignored, it would leave nothing to reap */
        || signal(SIGPIPE, SIG_IGN) == SIG_ERR     /* an app that closes its ears */
        || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)    /* a bound on the size of files */
        return errno;
    sources[SIGNALS] = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    return sources[SIGNALS] < 0 ? errno : 0;
}

int loop_prepare(void)
{
    int error = prepare_signals();
    if (error != 0)
        return error;
    sources[TIMER] = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return sources[TIMER] < 0 ? errno : 0;
}
