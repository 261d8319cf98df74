/* The app's process and all that descend from it.
 *
 * As process 1 everyone else in the replica is ours: kill(-1) reaches all, and every orphan comes
 * to us. Elsewhere (our own tests) kill(-1) would reach the whole machine: there it is the app's
 * process group, and we ask the kernel for the orphans.
 */
#include "usher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t pid = -1;
static int exec_pipe = -1;
static int status = SIGKILL; /* of an app that can't be reaped: our end is its end */
static bool gone, all_gone;

/* A shell or an earlier parent may have left signals ignored or blocked; the app starts clean. */
static void default_signals(void)
{
    sigset_t none;
    for (int number = 1; number <= SIGRTMAX; number++)
        (void)signal(number, SIG_DFL); /* not possible for some */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(char **argv, int report)
{
    (void)setsid(); /* can't fail: a new process leads no group */
    default_signals();
    if (argv[0] != NULL)
        execvp(argv[0], argv);
    else
        errno = ENOENT;
    int error = errno;
    ssize_t written = write(report, &error, sizeof error);
    _exit(written == sizeof error ? 127 : 126);
}

/* RFC 3339 in UTC. putenv keeps the buffer. */
static int export_deadline(int64_t deadline_real)
{
    static char entry[64] = "JOB_DEADLINE=";
    size_t name = strlen("JOB_DEADLINE=");
    time_t seconds = (time_t)(deadline_real / 1000000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL)
        return errno;
    if (strftime(entry + name, sizeof entry - name, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return EOVERFLOW;
    return putenv(entry) != 0 ? errno : 0;
}

int app_start(char **argv, int64_t deadline_real)
{
    int ends[2];
    int error = export_deadline(deadline_real);
    if (error != 0)
        return error;
    if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return errno;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return errno;
    pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0)
        become(argv, ends[1]);
    close(ends[1]);
    exec_pipe = ends[0];
    return 0;
}

int app_exec_pipe(void)
{
    return exec_pipe;
}

/* The pipe closes itself when exec succeeds; else the errno comes through it. */
int app_exec_result(void)
{
    int error = 0;
    ssize_t got = read(exec_pipe, &error, sizeof error);
    close(exec_pipe);
    exec_pipe = -1;
    return got == sizeof error ? error : 0;
}

pid_t app_pid(void)
{
    return pid;
}

void app_reap(void)
{
    int how;
    pid_t child;
    while ((child = waitpid(-1, &how, WNOHANG)) > 0) {
        if (child == pid && !gone) { /* its number may come again */
            gone = true;
            status = how;
        }
    }
    all_gone = child < 0 && errno == ECHILD;
}

bool app_gone(void)
{
    return gone;
}

bool app_all_gone(void)
{
    return all_gone;
}

/* That nobody is there to get it any more is fine. Before its exec the app may have no process
 * group of its own yet. */
void app_signal(int number)
{
    if (getpid() == 1) {
        (void)kill(-1, number);
    } else if (pid > 1 && kill(-pid, number) < 0 && !gone) {
        (void)kill(pid, number);
    }
}

/* Bounded: a process of another user may be out of our reach, and one in the kernel's hands may
 * take its time. When process 1 ends, the kernel kills whoever is left. */
void app_end(int64_t patience_ms)
{
    int64_t until = clock_now() + patience_ms;
    for (;;) {
        app_signal(SIGKILL);
        app_reap();
        if (all_gone || clock_now() >= until)
            return;
        (void)poll(NULL, 0, 1);
    }
}

int app_status(void)
{
    return status;
}
