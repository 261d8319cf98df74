/* Whether a health answer is good: status 200, and not JSON that says otherwise.
 *
 * Only an object can have a status, so what does not begin with a brace is good, whatever its
 * Content-Type. Of an object the top-level member `status` counts, the last of that name; it must
 * be one of a few words. Absent is good, and so is what can't be read as far as that member.
 */
#include "usher.h"

#include <string.h>
#include <strings.h>

#define WORD_SIZE 32

struct text {
    const char *at, *end;
};

static int hex_value(struct text *t)
{
    int value = 0;
    for (int digits = 0; digits < 4 && t->at < t->end; digits++, t->at++) {
        char c = *t->at;
        int digit = c >= '0' && c <= '9' ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 0;
        value = value * 16 + digit;
    }
    return value;
}

/* One character of a string; what is not ASCII is in no word that counts. */
static char character(struct text *t)
{
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    char c = *t->at++;
    if (c != '\\' || t->at == t->end)
        return c;
    c = *t->at++;
    if (c == 'u') {
        int value = hex_value(t);
        return value > 0 && value < 128 ? (char)value : '\x7f';
    }
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    return name != NULL ? values[name - names] : c;
}

/* The string after its opening quote; a word too long to count becomes "". */
static void string(struct text *t, char *word)
{
    size_t length = 0;
    while (t->at < t->end && *t->at != '"') {
        char c = character(t);
        if (length < WORD_SIZE)
            word[length++] = c != '\0' ? c : '\x7f';
    }
    if (t->at < t->end)
        t->at++;
    word[length < WORD_SIZE ? length : 0] = '\0';
}

static bool is_good_word(const char *word)
{
    static const char *const good[] = {"ok", "ready", "healthy", "running", "up"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (strcasecmp(word, good[i]) == 0)
            return true;
    return false;
}

/* What follows the opening brace of the outermost object. */
static bool object_is_good(struct text t)
{
    char word[WORD_SIZE + 1];
    bool good = true, key = true, asked = false; /* asked: the value of `status` comes next */
    int depth = 1;
    while (t.at < t.end && depth > 0) {
        char c = *t.at++;
        bool outermost = depth == 1;
        if (c == '"')
            string(&t, word);
        if (c == '"' && outermost && key) {
            asked = strcmp(word, "status") == 0;
            key = false;
        } else if (c == ',' && outermost) {
            key = true;
            asked = false;
        } else if (asked && outermost && strchr(" \t\r\n:}", c) == NULL) {
            good = c == '"' && is_good_word(word);
            asked = false;
        }
        if (c == '{' || c == '[')
            depth++;
        if (c == '}' || c == ']')
            depth--;
    }
    return good;
}

bool health_is_good(const struct response *answer, const char *body, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf"; /* some servers begin with a byte order mark */
    struct text t = {body, body + size};
    if (answer->status != 200)
        return false;
    if (size >= 3 && memcmp(body, mark, 3) == 0)
        t.at += 3;
    while (t.at < t.end && strchr(" \t\r\n", *t.at) != NULL)
        t.at++;
    if (t.at == t.end || *t.at != '{')
        return true;
    t.at++;
    return object_is_good(t);
}
