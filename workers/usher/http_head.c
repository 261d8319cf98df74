/* The lines of a response's head: which status, and what says where the body ends. */
#include "http.h"

#include <string.h>
#include <strings.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
        || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **text, size_t *size)
{
    while (*size > 0 && is_blank(**text))
        (*text)++, (*size)--;
    while (*size > 0 && is_blank((*text)[*size - 1]))
        (*size)--;
}

static bool same_word(const char *text, size_t size, const char *word)
{
    return size == strlen(word) && strncasecmp(text, word, size) == 0;
}

/* The same length said twice is one length; two lengths are none. */
static void take_length(struct response *r, const char *text, size_t size)
{
    uint64_t value = 0;
    if (size == 0 || size > 18)
        r->bad_length = true;
    for (size_t at = 0; at < size && !r->bad_length; at++) {
        if (!is_digit(text[at]))
            r->bad_length = true;
        value = value * 10 + (uint64_t)(text[at] - '0');
    }
    if (r->has_length && r->left != value)
        r->bad_length = true;
    r->has_length = true;
    r->left = value;
}

/* Another coding than chunked can't be undone here, and the body would not be the app's. */
static void take_coding(struct response *r, const char *text, size_t size)
{
    if (same_word(text, size, "chunked"))
        r->chunked++;
    else if (!same_word(text, size, "identity"))
        r->bad_coding = true;
}

static void each_item(struct response *r, const char *text, size_t size,
                      void (*take)(struct response *, const char *, size_t))
{
    for (;;) {
        const char *comma = memchr(text, ',', size);
        size_t length = comma != NULL ? (size_t)(comma - text) : size;
        const char *item = text;
        size_t item_size = length;
        trim(&item, &item_size);
        take(r, item, item_size);
        if (comma == NULL)
            return;
        text = comma + 1;
        size -= length + 1;
    }
}

static bool take_field(struct response *r, const char *line, size_t size)
{
    size_t name = 0;
    while (name < size && is_token_char(line[name]))
        name++;
    if (name == 0 || name == size || line[name] != ':')
        return false;
    const char *value = line + name + 1;
    size_t value_size = size - name - 1;
    trim(&value, &value_size);
    bool length = same_word(line, name, "content-length");
    bool coding = same_word(line, name, "transfer-encoding");
    r->framing_line = length || coding;
    if (r->framing_line)
        each_item(r, value, value_size, length ? take_length : take_coding);
    return true;
}

/* `HTTP/1.x 200 reason`, the reason and its space may be missing. */
static bool take_status_line(struct response *r, const char *line, size_t size)
{
    if (size < 12 || !is_digit(line[7]) || line[8] != ' ')
        return false;
    for (int at = 9; at < 12; at++)
        if (!is_digit(line[at]))
            return false;
    r->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    return r->status >= 100 && (size == 12 || line[12] == ' ');
}

/* A folded line goes on with the field before it; where that one says how long the body is, what
 * is meant is anybody's guess. */
bool head_line(struct response *r, const char *line, size_t size)
{
    if (memchr(line, '\0', size) != NULL || memchr(line, '\r', size) != NULL)
        return false;
    if (r->line == 0)
        return take_status_line(r, line, size);
    if (is_blank(*line))
        return !r->framing_line && memchr(r->head, '\n', r->line - 1) != NULL;
    return take_field(r, line, size);
}
