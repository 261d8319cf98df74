/* The exchange with the app: its request goes out, its response comes in, both at once.
 *
 *     BOTH ──► RUSHED ──► OFF        the response is in before all of the request was out
 *      ├────► ENDED                  the stream ended while the job is being ended
 *      └────────────────► OFF
 *
 * It happens once, over the one connection that it is given.
 */
#include "usher.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (64 * 1024)

enum state {
    STATE_OFF,    /* not begun, or over */
    STATE_BOTH,   /* request out, response in */
    STATE_ENDED,  /* the stream is over: judged at the app's end */
    STATE_RUSHED, /* only the rest of the request is left */
};

static enum state state;
static int peer = -1;           /* the socket */
static int request = -1;        /* the request's file, -1 once all is out, or nobody takes it */
static off_t request_at;
static bool stopping;
static bool reset;              /* the app closed the connection with input unread */
static struct response answer;
static char buffer[BUFFER_SIZE];

static void hang_up(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static void over(void)
{
    hang_up();
    if (request >= 0)
        close(request);
    request = -1;
    state = STATE_OFF;
}

/* --- The response --------------------------------------------------------------------------- */

/* Whatever was stored is dropped first: that may be what makes room for the event. */
static void fail(const char *why, int error)
{
    spool_drop();
    (void)spool_event("response_failed why=%s errno=%d", why, error);
    over();
}

static void keep(void)
{
    int error = spool_keep();
    if (error == 0)
        error = spool_event("responded status=%d bytes=%llu", answer.status,
                            (unsigned long long)answer.body_size);
    if (error != 0)
        fail("io", error);
    else if (request >= 0)
        state = STATE_RUSHED;
    else
        over();
}

static void settle(enum http_result result, int error)
{
    static const char *const why[] = {
        [HTTP_CLOSED] = "closed", [HTTP_TRUNCATED] = "truncated",
        [HTTP_MALFORMED] = "malformed", [HTTP_TOO_LARGE] = "too_large", [HTTP_IO] = "io",
    };
    if (result == HTTP_DONE)
        keep();
    else if (result != HTTP_MORE)
        fail(why[result], result == HTTP_IO ? answer.error : error);
}

/* While the job is being ended, a stream may end because the app was cut off in mid-sentence. A
 * body that says where it ends is judged by that; any other by how the app ended. */
static void stream_ended(int error)
{
    reset |= error == ECONNRESET;
    if (stopping && response_until_end(&answer)) {
        hang_up();
        state = STATE_ENDED;
        return;
    }
    settle(response_end(&answer, reset), reset ? ECONNRESET : error);
}

/* One read. True if there may be more at once. */
static bool take_answer(void)
{
    ssize_t got = recv(peer, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got > 0) {
        dial_hurry(peer);
        settle(response_feed(&answer, buffer, (size_t)got), 0);
    } else {
        stream_ended(got < 0 ? errno : 0);
    }
    return state == STATE_BOTH;
}

/* What comes after the response is nobody's. */
static void ignore_answer(void)
{
    ssize_t got = recv(peer, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        over();
}

/* --- The request ---------------------------------------------------------------------------- */

static void request_out(void)
{
    close(request);
    request = -1;
    if (state == STATE_RUSHED)
        over();
}

/* An app may close its ears and still answer: that sending failed is not the end. */
static void send_request(void)
{
    ssize_t size = pread(request, buffer, sizeof buffer, request_at);
    if (size < 0) {
        state == STATE_RUSHED ? over() : fail("io", errno);
        return;
    }
    ssize_t out = size > 0 ? send(peer, buffer, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (out < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (out > 0) {
        request_at += out;
        return;
    }
    reset |= out < 0 && errno == ECONNRESET;
    request_out();
}

/* --- What the others call ------------------------------------------------------------------- */

void exchange_begin(int the_peer, int the_request, uint64_t response_limit)
{
    static const struct http_taker spool = {spool_head, spool_body};
    peer = the_peer;
    request = the_request;
    response_begin(&answer, response_limit, spool);
    state = STATE_BOTH;
    send_request();
}

int exchange_socket(short *events)
{
    *events = POLLIN;
    if (request >= 0)
        *events = POLLIN | POLLOUT;
    return peer;
}

void exchange_ready(short events)
{
    if (state == STATE_BOTH && (events & ~POLLOUT) != 0)
        (void)take_answer();
    else if (state == STATE_RUSHED && (events & ~POLLOUT) != 0)
        ignore_answer();
    if ((state == STATE_BOTH || state == STATE_RUSHED) && request >= 0 && (events & POLLOUT) != 0)
        send_request();
}

/* It goes on: the app may want to finish its answer before it ends. */
void exchange_stop(void)
{
    stopping = true;
}

/* Takes what there is, until nothing came for `patience_ms`; none means only what is there now. */
void exchange_drain(int64_t until, int64_t patience_ms)
{
    while (state == STATE_BOTH && clock_now() < until) {
        struct pollfd socket = {.fd = peer, .events = POLLIN};
        if (!take_answer() && state == STATE_BOTH && poll(&socket, 1, (int)patience_ms) <= 0)
            return;
    }
}

/* The app has ended. What is not complete now never will be; a body without a stated length is,
 * unless we cut it off. */
void exchange_end(bool app_ended_itself)
{
    if (state == STATE_ENDED || state == STATE_BOTH) {
        bool cut = !app_ended_itself && response_until_end(&answer);
        settle(cut ? HTTP_TRUNCATED : response_end(&answer, reset), reset ? ECONNRESET : 0);
    }
    over();
}
