/* What the usher's files share. The protocol and the order of things are told in usher.c. */
#ifndef USHER_H
#define USHER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "http.h"

#define NEVER INT64_MAX

enum { EXIT_USHER = 125 }; /* the usher itself could not go on, or was started twice */

/* clock.c: milliseconds of CLOCK_BOOTTIME, which goes on while the machine sleeps, and
 * microseconds since the epoch for what people and the worker read. */
int64_t clock_now(void);
int64_t clock_real(void);

/* plan.c: what the worker wrote. Durations in milliseconds. */
struct plan {
    int64_t port;
    int64_t health_enabled;
    int64_t health_port;
    int64_t health_timeout_ms;
    int64_t startup_ms;
    int64_t deadline_ms;
    int64_t grace_ms;
    int64_t stop_signal;
    int64_t response_limit;
    char health_path[2048];
};
int plan_read(struct plan *plan); /* 0 or an errno */
int argv_read(char ***argv);      /* 0 or an errno; an empty list if there is nothing to run */

/* spool.c: the directory shared with the worker. Each returns 0 or an errno. */
int spool_open(const char *path);
int spool_mark(void);    /* the run-once marker; EEXIST if this is the second start */
int spool_events(void);
int spool_read(const char *name, char *buffer, size_t size, size_t *length);
int spool_handle(const char *name, int *handle);
int spool_event(const char *format, ...) __attribute__((format(printf, 1, 2)));
int spool_head(const char *bytes, size_t size);
int spool_body(const char *bytes, size_t size);
int spool_keep(void);
void spool_drop(void);

/* app.c: the app's process and all that descend from it. */
int app_start(char **argv, int64_t deadline_real); /* 0 or an errno */
int app_exec_pipe(void);                           /* readable once exec succeeded or failed */
int app_exec_result(void);                         /* 0 or the errno of exec; closes the pipe */
pid_t app_pid(void);
void app_reap(void);
bool app_gone(void);      /* the app's own process has ended */
bool app_all_gone(void);  /* so have its descendants, as far as they are ours to reap */
void app_signal(int number);
void app_end(int64_t patience_ms); /* SIGKILL to all, reaped */
int app_status(void);              /* as waitpid gives it */

/* cgroup.c: what the kernel counted for the replica, -1 where it does not say. */
struct memory_facts {
    int64_t oom_kills;
    int64_t peak;
};
struct memory_facts cgroup_memory(void);

/* dial.c: the addresses at which an app can listen. */
void dial_prepare(void);
int dial_count(void);
int dial_begin(int address, int port); /* a connecting socket, or -1 */
int dial_result(int socket);           /* 0 or an errno, once it is writable */
void dial_hurry(int socket);

/* health.c: whether a health answer is good. */
bool health_is_good(const struct response *answer, const char *body, size_t size);

/* talk.c: finds the app, waits until it is healthy, hands over to the exchange. */
enum health { HEALTH_NONE, HEALTH_REFUSED, HEALTH_UNHEALTHY, HEALTH_HEALTHY };
void talk_begin(const struct plan *plan, int request);
int talk_socket(short *events); /* what to poll; -1 for nothing */
int64_t talk_due(void);         /* when talk_tick has something to do */
void talk_ready(short events);
void talk_tick(int64_t now);
void talk_stop(void); /* the job is being ended: begin nothing more */
bool talk_sent(void);
enum health talk_health(void);

/* exchange.c: the request and its response. */
void exchange_begin(int peer, int request, uint64_t response_limit);
int exchange_socket(short *events);
void exchange_ready(short events);
void exchange_stop(void);
void exchange_drain(int64_t until, int64_t patience_ms);
void exchange_end(bool app_ended_itself);

/* loop.c: what happens between the command's start and its end. */
struct job {
    const struct plan *plan;
    const char *command; /* NULL if there is none */
    int request;
    int64_t deadline, startup_end; /* of clock_now() */
    int64_t deadline_real;
};
int loop_prepare(void);              /* 0 or an errno; signals are held from here on */
int loop_run(const struct job *job); /* the usher's exit code */

/* usher.c */
int give_up(const char *what, int error); /* the usher's exit code */

#endif
