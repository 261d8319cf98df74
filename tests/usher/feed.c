/* Drives the response parser and the judge of health answers.
 *
 * Standard input holds cases: five native 32-bit numbers (body limit, whether the stream ends with
 * a reset, seed, size, 0) and the stream's bytes. For each, standard output gets five numbers
 * (result, status, whether it is a good health answer, size of head, size of body), then head and
 * body. Each stream is parsed in one piece, byte by byte, and cut at random in many ways: what
 * comes out has to be the same, else this program aborts.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "usher.h"

#define CUTS 8

struct outcome {
    uint32_t result, status, good, head_size, body_size;
};

static struct response response;
static char *head, *body, *first_head, *first_body;
static struct outcome outcome;

static int take_head(const char *bytes, size_t size)
{
    memcpy(head, bytes, size);
    outcome.head_size = (uint32_t)size;
    return 0;
}

static int take_body(const char *bytes, size_t size)
{
    memcpy(body + outcome.body_size, bytes, size);
    outcome.body_size += (uint32_t)size;
    return 0;
}

/* piece 0: as a whole; 1: byte by byte; else random pieces, mostly short */
static void parse(const char *stream, size_t size, const uint32_t *numbers, size_t piece)
{
    static const struct http_taker taker = {take_head, take_body};
    enum http_result result = HTTP_MORE;
    memset(&outcome, 0, sizeof outcome);
    response_begin(&response, numbers[0], taker);
    for (size_t at = 0; at < size && result == HTTP_MORE;) {
        size_t length = piece == 0 ? size
            : piece == 1 ? 1
            : rand() % 4 == 0 ? 1 + (size_t)rand() % size : 1 + (size_t)rand() % 4;
        if (length > size - at)
            length = size - at;
        char *exact = malloc(length); /* so that a read beyond the piece is noticed */
        memcpy(exact, stream + at, length);
        result = response_feed(&response, exact, length);
        free(exact);
        at += length;
    }
    if (result == HTTP_MORE)
        result = response_end(&response, numbers[1] != 0);
    outcome.result = result;
    outcome.status = (uint32_t)response.status;
}

static void expect_same(const struct outcome *first)
{
    bool same = outcome.result == first->result;
    if (same && outcome.result == HTTP_DONE)
        same = outcome.status == first->status && outcome.head_size == first->head_size
            && outcome.body_size == first->body_size
            && memcmp(head, first_head, outcome.head_size) == 0
            && memcmp(body, first_body, outcome.body_size) == 0;
    if (!same) {
        fprintf(stderr, "cut differently, parsed differently: %u, not %u\n", outcome.result,
                first->result);
        abort();
    }
}

static void run_case(const uint32_t *numbers, const char *stream)
{
    size_t size = numbers[3];
    srand(numbers[2]);
    parse(stream, size, numbers, 0);
    struct outcome first = outcome;
    memcpy(first_head, head, first.head_size);
    memcpy(first_body, body, first.body_size);
    if (first.result == HTTP_DONE)
        first.good = health_is_good(&response, first_body, first.body_size);
    for (size_t piece = 1; piece <= CUTS; piece++) {
        parse(stream, size, numbers, piece);
        expect_same(&first);
    }
    fwrite(&first, sizeof first, 1, stdout);
    fwrite(first_head, 1, first.head_size, stdout);
    fwrite(first_body, 1, first.body_size, stdout);
    fflush(stdout);
}

int main(void)
{
    uint32_t numbers[5];
    first_head = malloc(HEAD_LIMIT);
    head = malloc(HEAD_LIMIT);
    while (fread(numbers, sizeof numbers, 1, stdin) == 1) {
        char *stream = malloc(numbers[3] + 1);
        body = malloc(numbers[3] + 1);
        first_body = malloc(numbers[3] + 1);
        if (fread(stream, 1, numbers[3], stdin) != numbers[3])
            return 1;
        run_case(numbers, stream);
        free(stream);
        free(body);
        free(first_body);
    }
    return 0;
}
