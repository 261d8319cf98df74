/* Finding the app: wait until it is healthy, then hand it the request (exchange.c).
 *
 *     PAUSE ──► DIAL ──► ASK ──────► PAUSE        not healthy: again later
 *       ▲        │        └────────► DIAL         healthy: now for the request
 *       └────────┤ nobody there
 *                └──► NOTE ──► HANDED
 *
 * One socket at a time, never blocking. Without a health check the first connection that is made
 * is the request's.
 *
 * A try walks over the addresses until somebody is there, and ends with that one; early on, three of
 * four stay at the first. Who did not turn out healthy may be somebody else: the next try begins
 * with the next address.
 */
#include "usher.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_PAUSE_MS 5
#define LONGEST_PAUSE_MS 1000
#define REFUSED_PART 20 /* who begins to listen is seen late by this part of the wait, at most */
#define NARROW_MS 400   /* as long as tries are many, most go to 127.0.0.1 alone, where most listen */
#define WIDE_EVERY 4
#define BUFFER_SIZE (64 * 1024)

enum state {
    STATE_OFF,    /* not begun, or given up */
    STATE_PAUSE,  /* until the next try */
    STATE_DIAL,   /* connecting */
    STATE_ASK,    /* the health check is out */
    STATE_NOTE,   /* connected, but `sent` could not be noted yet */
    STATE_HANDED, /* all that follows is the exchange */
};

static const struct plan *plan;
static enum state state;
static int peer = -1;           /* the socket */
static int request = -1;
static int64_t due = NEVER;
static int64_t pause_ms = FIRST_PAUSE_MS;
static int64_t since;           /* when we began to look for whom we look for now */
static int first;               /* the address that a try begins with */
static int tried, reach;        /* addresses of this try: so far, and at most */
static unsigned tries;
static enum health best;
static struct response answer;
static char buffer[BUFFER_SIZE];
static char health_body[BUFFER_SIZE];
static size_t health_size;

static void dial(void);

/* --- States --------------------------------------------------------------------------------- */

static void enter(enum state next, int64_t when)
{
    state = next;
    due = when;
}

static void hang_up(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static int64_t within(int64_t length)
{
    int64_t least = length < FIRST_PAUSE_MS ? FIRST_PAUSE_MS : length;
    return least > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : least;
}

/* An answer costs the app something: soon it is asked rarely. */
static int64_t next_pause(void)
{
    int64_t length = pause_ms;
    pause_ms = within(pause_ms * 3 / 2 + 1);
    return clock_now() + length;
}

/* A refusal costs little: every 5 ms for the first 100 ms, when small apps begin to listen. */
static int64_t short_pause(void)
{
    int64_t now = clock_now();
    return now + within((now - since) / REFUSED_PART);
}

static int address(void)
{
    return (first + tried) % dial_count();
}

static void try_elsewhere(void)
{
    first = (address() + 1) % dial_count();
    hang_up();
    enter(STATE_PAUSE, next_pause());
}

static void try_now(void)
{
    bool all = first != 0 || best > HEALTH_REFUSED || clock_now() - since >= NARROW_MS;
    reach = all || tries++ % WIDE_EVERY == 0 ? dial_count() : 1;
    tried = 0;
    enter(STATE_DIAL, clock_now() + plan->health_timeout_ms);
    dial();
}

static bool asks_first(void)
{
    return plan->health_enabled && best != HEALTH_HEALTHY;
}

static void note_health(enum health seen)
{
    if (seen <= best)
        return;
    best = seen;
    if (seen == HEALTH_HEALTHY)
        (void)spool_event("healthy"); /* for people to read; nothing depends on it */
}

/* `sent` is noted before the first byte is out: where it is missing, nothing was sent. If it can't
 * be noted the request waits, as long as the job may. */
static void hand_over(void)
{
    if (spool_event("sent") != 0) {
        enter(STATE_NOTE, next_pause());
        return;
    }
    enter(STATE_HANDED, NEVER);
    exchange_begin(peer, request, (uint64_t)plan->response_limit);
}

/* --- The health check ----------------------------------------------------------------------- */

static int skip_head(const char *bytes, size_t size)
{
    (void)bytes, (void)size;
    return 0;
}

static int collect(const char *bytes, size_t size)
{
    size_t room = sizeof health_body - health_size;
    memcpy(health_body + health_size, bytes, size < room ? size : room);
    health_size += size < room ? size : room;
    return health_size == sizeof health_body ? ENOBUFS : 0; /* that's enough of it */
}

static void ask(void)
{
    static const struct http_taker collector = {skip_head, collect};
    int size = snprintf(buffer, sizeof buffer,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: onejob\r\n"
                        "Accept: */*\r\nConnection: close\r\n\r\n",
                        plan->health_path, (int)plan->health_port);
    if (send(peer, buffer, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) != size) {
        try_elsewhere();
        return;
    }
    health_size = 0;
    response_begin(&answer, UINT64_MAX, collector);
    enter(STATE_ASK, due);
}

static void judge_health(enum http_result result)
{
    bool whole = result == HTTP_DONE || (result == HTTP_IO && answer.error == ENOBUFS);
    if (result == HTTP_MORE)
        return;
    if (!whole || !health_is_good(&answer, health_body, health_size)) {
        try_elsewhere();
        return;
    }
    note_health(HEALTH_HEALTHY);
    hang_up();
    first = address();
    pause_ms = FIRST_PAUSE_MS;
    since = clock_now();
    try_now();
}

static void take_health(void)
{
    ssize_t got = recv(peer, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        note_health(HEALTH_UNHEALTHY);
        dial_hurry(peer);
        judge_health(response_feed(&answer, buffer, (size_t)got));
    } else {
        judge_health(response_end(&answer, got < 0));
    }
}

/* --- Connecting ----------------------------------------------------------------------------- */

/* Tries the addresses in turn until one is being connected to. */
static void dial(void)
{
    int port = (int)(asks_first() ? plan->health_port : plan->port);
    note_health(HEALTH_REFUSED);
    for (; tried < reach; tried++) {
        peer = dial_begin(address(), port);
        if (peer >= 0)
            return;
    }
    enter(STATE_PAUSE, short_pause());
}

static void connected(void)
{
    if (dial_result(peer) != 0) {
        hang_up();
        tried++;
        dial();
        return;
    }
    dial_hurry(peer);
    if (asks_first()) {
        ask();
        return;
    }
    note_health(HEALTH_HEALTHY);
    hand_over();
}

/* --- What the loop calls -------------------------------------------------------------------- */

void talk_begin(const struct plan *the_plan, int the_request)
{
    plan = the_plan;
    request = the_request;
    since = clock_now();
    dial_prepare();
    try_now();
}

int talk_socket(short *events)
{
    if (state == STATE_HANDED)
        return exchange_socket(events);
    *events = state == STATE_DIAL ? POLLOUT : POLLIN;
    return state == STATE_NOTE ? -1 : peer;
}

int64_t talk_due(void)
{
    return due;
}

void talk_ready(short events)
{
    if (state == STATE_DIAL)
        connected();
    else if (state == STATE_ASK)
        take_health();
    else if (state == STATE_HANDED)
        exchange_ready(events);
}

void talk_tick(int64_t now)
{
    if (now < due)
        return;
    if (state == STATE_PAUSE)
        try_now();
    else if (state == STATE_DIAL || state == STATE_ASK)
        try_elsewhere();
    else if (state == STATE_NOTE)
        hand_over();
}

void talk_stop(void)
{
    if (state == STATE_HANDED) {
        exchange_stop();
        return;
    }
    hang_up();
    enter(STATE_OFF, NEVER);
}

bool talk_sent(void)
{
    return state == STATE_HANDED;
}

enum health talk_health(void)
{
    return best;
}
