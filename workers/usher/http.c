/* The response parser: RFC 9112 as far as a response is concerned. http_head.c reads the lines of
 * the head.
 *
 * Each byte moves the same state machine on, so that the outcome does not depend on how the
 * stream was cut. Strict where a mistake would lose or invent bytes of the body (lengths, chunks,
 * line structure), tolerant where it can't (a bare LF ends a line, too).
 */
#include "http.h"

#include <string.h>

#define SIZE_LINE_LIMIT 4096          /* of one chunk's size line, with its extensions */
#define TRAILERS_LIMIT (64 * 1024)
#define RESET_SAFE_SIZE (32 * 1024)

static enum http_result over(struct response *r, enum http_result result)
{
    r->state = STATE_OVER;
    return r->result = result;
}

static enum http_result failed(struct response *r, int error)
{
    r->error = error;
    return over(r, HTTP_IO);
}

void response_begin(struct response *r, uint64_t body_limit, struct http_taker taker)
{
    memset(r, 0, offsetof(struct response, head));
    r->taker = taker;
    r->body_limit = body_limit;
}

/* --- The head ------------------------------------------------------------------------------- */

static enum http_result begin_body(struct response *r)
{
    if (r->status == 204 || r->status == 304)
        return over(r, HTTP_DONE);
    if (r->bad_coding || r->chunked > 1 || (r->bad_length && r->chunked == 0))
        return over(r, HTTP_MALFORMED);
    if (r->chunked == 1) {
        r->left = r->line = 0;
        r->state = STATE_SIZE;
    } else if (r->has_length) {
        if (r->left > r->body_limit)
            return over(r, HTTP_TOO_LARGE);
        r->state = STATE_LENGTH;
        if (r->left == 0)
            return over(r, HTTP_DONE);
    } else {
        r->state = STATE_UNTIL_END;
    }
    return HTTP_MORE;
}

/* A response before the last one (1xx) leaves nothing behind. */
static void forget_head(struct response *r)
{
    r->head_size = r->line = r->left = 0;
    r->has_length = r->bad_length = r->framing_line = r->bad_coding = false;
    r->chunked = 0;
}

static enum http_result end_head(struct response *r)
{
    if (r->status < 200) {
        forget_head(r);
        return HTTP_MORE;
    }
    int error = r->taker.head(r->head, r->head_size);
    return error != 0 ? failed(r, error) : begin_body(r);
}

static enum http_result head_byte(struct response *r, char c)
{
    static const char version[] = "HTTP/1.";
    if (r->head_size == HEAD_LIMIT)
        return over(r, HTTP_MALFORMED);
    if (r->head_size < sizeof version - 1 && c != version[r->head_size])
        return over(r, HTTP_MALFORMED);
    r->head[r->head_size++] = c;
    if (c != '\n')
        return HTTP_MORE;
    const char *line = r->head + r->line;
    size_t size = r->head_size - r->line - 1;
    if (size > 0 && line[size - 1] == '\r')
        size--;
    if (size == 0)
        return end_head(r);
    if (!head_line(r, line, size))
        return over(r, HTTP_MALFORMED);
    r->line = r->head_size;
    return HTTP_MORE;
}

/* --- The body ------------------------------------------------------------------------------- */

static enum http_result give_body(struct response *r, const char *bytes, size_t size)
{
    if (size > r->body_limit - r->body_size)
        return over(r, HTTP_TOO_LARGE);
    r->body_size += size;
    int error = r->taker.body(bytes, size);
    return error != 0 ? failed(r, error) : HTTP_MORE;
}

/* A run of body bytes; *used of them were taken. */
static enum http_result run(struct response *r, const char *bytes, size_t size, size_t *used)
{
    bool bounded = r->state != STATE_UNTIL_END;
    *used = bounded && r->left < size ? (size_t)r->left : size;
    enum http_result result = give_body(r, bytes, *used);
    if (result != HTTP_MORE || !bounded)
        return result;
    r->left -= *used;
    if (r->left > 0)
        return HTTP_MORE;
    if (r->state == STATE_LENGTH)
        return over(r, HTTP_DONE);
    r->state = STATE_CHUNK_CR;
    return HTTP_MORE;
}

static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum http_result begin_chunk(struct response *r)
{
    r->line = 0;
    if (r->left == 0) {
        r->trailers = 0;
        r->state = STATE_TRAILER;
    } else if (r->left > r->body_limit - r->body_size) {
        return over(r, HTTP_TOO_LARGE);
    } else {
        r->state = STATE_CHUNK;
    }
    return HTTP_MORE;
}

/* Digits, then perhaps blanks, then perhaps an extension, then the line's end. */
static enum http_result size_byte(struct response *r, char c)
{
    int digit = r->state == STATE_SIZE ? hexadecimal(c) : -1;
    if (++r->line > SIZE_LINE_LIMIT)
        return over(r, HTTP_MALFORMED);
    if (digit >= 0) {
        if (r->left >> 59 != 0)
            return over(r, HTTP_MALFORMED);
        r->left = r->left * 16 + (uint64_t)digit;
        return HTTP_MORE;
    }
    if (r->line == 1)
        return over(r, HTTP_MALFORMED); /* no digit at all */
    if (c == '\n')
        return begin_chunk(r);
    if (r->state == STATE_SIZE_LF)
        return over(r, HTTP_MALFORMED);
    if (c == '\r')
        r->state = STATE_SIZE_LF;
    else if (r->state == STATE_EXTENSION || c == ';')
        r->state = STATE_EXTENSION;
    else if (c == ' ' || c == '\t')
        r->state = STATE_SIZE_PAD;
    else
        return over(r, HTTP_MALFORMED);
    return HTTP_MORE;
}

static enum http_result chunk_end_byte(struct response *r, char c)
{
    if (c == '\r' && r->state == STATE_CHUNK_CR) {
        r->state = STATE_CHUNK_LF;
    } else if (c == '\n') {
        r->left = r->line = 0;
        r->state = STATE_SIZE;
    } else {
        return over(r, HTTP_MALFORMED);
    }
    return HTTP_MORE;
}

/* Trailers are read past; an empty line ends them. */
static enum http_result trailer_byte(struct response *r, char c)
{
    if (++r->trailers > TRAILERS_LIMIT)
        return over(r, HTTP_MALFORMED);
    if (c == '\n') {
        if (r->line == 0)
            return over(r, HTTP_DONE);
        r->line = 0;
    } else if (c != '\r') {
        r->line++;
    }
    return HTTP_MORE;
}

/* --- The stream ----------------------------------------------------------------------------- */

static enum http_result step(struct response *r, const char *bytes, size_t size, size_t *used)
{
    *used = 1;
    switch (r->state) {
    case STATE_HEAD:
        return head_byte(r, *bytes);
    case STATE_LENGTH:
    case STATE_UNTIL_END:
    case STATE_CHUNK:
        return run(r, bytes, size, used);
    case STATE_SIZE:
    case STATE_SIZE_PAD:
    case STATE_EXTENSION:
    case STATE_SIZE_LF:
        return size_byte(r, *bytes);
    case STATE_CHUNK_CR:
    case STATE_CHUNK_LF:
        return chunk_end_byte(r, *bytes);
    case STATE_TRAILER:
        return trailer_byte(r, *bytes);
    case STATE_OVER:
        break;
    }
    return r->result;
}

enum http_result response_feed(struct response *r, const char *bytes, size_t size)
{
    enum http_result result = r->state == STATE_OVER ? r->result : HTTP_MORE;
    if (size > 0)
        r->touched = true;
    while (size > 0 && result == HTTP_MORE) {
        size_t used;
        result = step(r, bytes, size, &used);
        bytes += used;
        size -= used;
    }
    return result;
}

/* An app that closes with input unread resets the connection, which is common and harmless after
 * a whole answer. But the reset can overtake what did not fit into the receive window. So a body
 * that only the end of the stream ends may end with a reset while all of it fits there. */
enum http_result response_end(struct response *r, bool reset)
{
    if (r->state == STATE_OVER)
        return r->result;
    if (!r->touched)
        return over(r, HTTP_CLOSED);
    if (r->state == STATE_UNTIL_END && !(reset && r->body_size > RESET_SAFE_SIZE))
        return over(r, HTTP_DONE);
    return over(r, HTTP_TRUNCATED);
}

bool response_until_end(const struct response *r)
{
    return r->state == STATE_UNTIL_END;
}
