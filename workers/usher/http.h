/* An HTTP/1.x response, read as it comes in, however it is cut into pieces. */
#ifndef USHER_HTTP_H
#define USHER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_LIMIT (256 * 1024)

enum http_result {
    HTTP_MORE,      /* not complete yet */
    HTTP_DONE,      /* complete */
    HTTP_CLOSED,    /* over before one byte came */
    HTTP_TRUNCATED, /* over too early */
    HTTP_MALFORMED,
    HTTP_TOO_LARGE, /* the body is over its limit */
    HTTP_IO,        /* the taker of head or body failed: see `error` */
};

/* Where head (once, whole) and body (in pieces, de-chunked) go: 0, or an errno to stop. */
struct http_taker {
    int (*head)(const char *bytes, size_t size);
    int (*body)(const char *bytes, size_t size);
};

enum http_state {
    STATE_HEAD, STATE_LENGTH, STATE_UNTIL_END,
    STATE_SIZE, STATE_SIZE_PAD, STATE_EXTENSION, STATE_SIZE_LF,
    STATE_CHUNK, STATE_CHUNK_CR, STATE_CHUNK_LF, STATE_TRAILER, STATE_OVER,
};

struct response {
    struct http_taker taker;
    enum http_state state;
    enum http_result result; /* once over */
    int error;
    bool touched;            /* at least one byte came */
    int status;
    uint64_t body_limit, body_size;
    uint64_t left;           /* of the body or the chunk */
    size_t line;             /* where the current line of the head begins; length of others */
    size_t trailers;         /* bytes of them, size lines too */
    bool has_length, bad_length, framing_line, bad_coding;
    int chunked;             /* how often that coding is named */
    size_t head_size;
    char head[HEAD_LIMIT];
};

void response_begin(struct response *r, uint64_t body_limit, struct http_taker taker);
enum http_result response_feed(struct response *r, const char *bytes, size_t size);
/* The stream is over; `reset` if it ended with one. */
enum http_result response_end(struct response *r, bool reset);
/* Whether only the end of the stream ends the body. */
bool response_until_end(const struct response *r);

/* http_head.c: a line of the head without its end; false if it is none. */
bool head_line(struct response *r, const char *line, size_t size);

#endif
