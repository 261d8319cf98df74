/* The only file of an image from scratch: an app that needs no shell, no library and no user.
 *
 *     tiny MODE [ARG]
 *
 * Every run leaves a line in the spool's `runs`, so that starts can be counted. It answers the
 * health check and one request, whose answer are `key=value` lines of what it sees and may do.
 *     serve     then ends with code ARG
 *     probe     attacks process 1 before it answers
 *     eat       takes memory until it is killed
 *     wait      then waits for a signal
 *     stream    answers with ARG mebibytes of zeros instead
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[8192];
static size_t length;

static void tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    length += (size_t)vsnprintf(text + length, sizeof text - length, format, arguments);
    va_end(arguments);
}

/* 0 or the errno. */
static void tell_outcome(const char *name, long result)
{
    tell("%s=%d\n", name, result >= 0 ? 0 : errno);
}

static void leave_a_line(void)
{
    int runs = open("/.onejob/spool/runs", O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (runs < 0 || write(runs, "run\n", 4) != 4)
        _exit(70);
    close(runs);
}

/* Who and where we are. */
static void tell_self(int count, char **arguments)
{
    char folder[1024];
    tell("uid=%d\ngid=%d\npid_of_parent=%d\n", (int)getuid(), (int)getgid(), (int)getppid());
    tell("cwd=%s\n", getcwd(folder, sizeof folder) != NULL ? folder : "?");
    for (int i = 0; i < count; i++)
        tell("argument=%s\n", arguments[i]);
    tell("deadline=%s\n", getenv("JOB_DEADLINE") != NULL ? "told" : "untold");
    tell_outcome("write_root", open("/written", O_WRONLY | O_CREAT, 0644));
    tell_outcome("shell", access("/bin/sh", X_OK));
}

static void tell_interfaces(void)
{
    char line[512];
    FILE *devices = fopen("/proc/net/dev", "r");
    while (devices != NULL && fgets(line, sizeof line, devices) != NULL) {
        char *colon = strchr(line, ':');
        if (colon != NULL)
            tell("interface=%.*s\n", (int)(colon - line), line);
    }
}

/* What a process of the usher's own user may try. */
static void tell_attacks(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    static const int numbers[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGUSR1, SIGABRT, SIGALRM};
    tell_outcome("attach", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
    tell_outcome("seize", ptrace(PTRACE_SEIZE, 1, NULL, NULL));
    tell_outcome("read_memory", process_vm_readv(1, &here, 1, &there, 1, 0));
    tell_outcome("open_memory", open("/proc/1/mem", O_RDWR));
    tell_outcome("open_files", open("/proc/1/fd/1", O_WRONLY));
    tell_outcome("read_environment", open("/proc/1/environ", O_RDONLY));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)kill(1, numbers[i]);
}

static int begin_listening(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int on = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_port = htons((uint16_t)atoi(getenv("PORT")));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&address, sizeof address) < 0 || listen(server, 8) < 0)
        _exit(71);
    return server;
}

static void send_all(int peer, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t out = send(peer, bytes, size, MSG_NOSIGNAL);
        if (out <= 0)
            _exit(72);
        bytes += out;
        size -= (size_t)out;
    }
}

static void send_head(int peer, size_t size)
{
    char head[128];
    int head_size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                             size);
    send_all(peer, head, (size_t)head_size);
}

/* The request's connection, everything before it being a health check; its head fits one read. */
static int take_job(int server)
{
    char head[4096];
    for (;;) {
        int peer = accept(server, NULL, NULL);
        ssize_t size = peer >= 0 ? recv(peer, head, sizeof head, 0) : -1;
        if (size < 12)
            _exit(73);
        if (memcmp(head, "GET /health ", 12) != 0)
            return peer;
        send_head(peer, 2);
        send_all(peer, "ok", 2);
        close(peer);
    }
}

static _Noreturn void eat(void)
{
    size_t size = 1024 * 1024;
    for (;;)
        memset(malloc(size), 1, size);
}

static void stream(int peer, size_t mebibytes)
{
    static char zeros[1024 * 1024];
    send_head(peer, mebibytes * sizeof zeros);
    for (size_t i = 0; i < mebibytes; i++)
        send_all(peer, zeros, sizeof zeros);
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "serve";
    int argument = count > 2 ? atoi(arguments[2]) : 0;
    leave_a_line();
    int peer = take_job(begin_listening());
    if (strcmp(mode, "eat") == 0)
        eat();
    if (strcmp(mode, "probe") == 0)
        tell_attacks();
    if (strcmp(mode, "stream") == 0) {
        stream(peer, (size_t)argument);
        return 0;
    }
    tell_self(count, arguments);
    tell_interfaces();
    send_head(peer, length);
    send_all(peer, text, length);
    if (strcmp(mode, "wait") == 0)
        pause();
    return argument;
}
