/* Where an app can listen: 127.0.0.1, ::1, and the replica's own addresses.
 *
 * No call may leave the replica. One of its own addresses can be taken from it while we wait, and
 * be another machine's from then on. So each call is made from the address that it goes to: where
 * that is no longer ours, the kernel refuses.
 */
#include "usher.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESSES 8

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static union address addresses[ADDRESSES];
static int count;

static bool is_ours(const struct ifaddrs *entry)
{
    if (entry->ifa_addr == NULL || (entry->ifa_flags & IFF_LOOPBACK) != 0)
        return false;
    return entry->ifa_addr->sa_family == AF_INET || entry->ifa_addr->sa_family == AF_INET6;
}

static size_t size_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

void dial_prepare(void)
{
    struct ifaddrs *list = NULL;
    addresses[0].four.sin_family = AF_INET;
    addresses[0].four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addresses[1].six.sin6_family = AF_INET6;
    addresses[1].six.sin6_addr = in6addr_loopback;
    count = 2;
    if (getifaddrs(&list) < 0)
        return; /* loopback it is */
    for (struct ifaddrs *entry = list; entry != NULL && count < ADDRESSES; entry = entry->ifa_next)
        if (is_ours(entry))
            memcpy(&addresses[count++], entry->ifa_addr, size_of(entry->ifa_addr));
    freeifaddrs(list);
}

int dial_count(void)
{
    return count;
}

static void set_port(union address *address, int port)
{
    if (address->any.sa_family == AF_INET)
        address->four.sin_port = htons((uint16_t)port);
    else
        address->six.sin6_port = htons((uint16_t)port);
}

/* The port that we are given for a call may be one that the app is about to listen on; marked
 * reusable, a call that is over or under way does not keep the app from it. The port is chosen
 * when the call is made, as if nothing had been bound; a kernel that can't, chooses it here. */
static bool prepare(int handle, union address from)
{
    int on = 1;
    set_port(&from, 0);
    (void)setsockopt(handle, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0
        && setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0
        && bind(handle, &from.any, (socklen_t)size_of(&from.any)) == 0;
}

int dial_begin(int index, int port)
{
    union address address = addresses[index];
    int kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int handle = socket(address.any.sa_family, kind, 0);
    if (handle < 0)
        return -1;
    set_port(&address, port);
    if (!prepare(handle, address)
        || (connect(handle, &address.any, (socklen_t)size_of(&address.any)) < 0
            && errno != EINPROGRESS)) {
        close(handle);
        return -1;
    }
    return handle;
}

/* Where nothing listens on a port that is also handed out to callers, a caller can be given that
 * very port and reach itself. Kept open it would also take the port from the app. */
static bool reached_itself(int handle)
{
    union address here, there;
    socklen_t here_size = sizeof here, there_size = sizeof there;
    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    if (getsockname(handle, &here.any, &here_size) < 0
        || getpeername(handle, &there.any, &there_size) < 0)
        return false;
    return here_size == there_size && memcmp(&here, &there, here_size) == 0;
}

/* So that closing it frees the port at once, not after a minute of TIME_WAIT. */
static void never_linger(int handle)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(handle, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

int dial_result(int handle)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(handle, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return errno;
    if (error == 0 && reached_itself(handle)) {
        never_linger(handle);
        error = ECONNREFUSED;
    }
    return error;
}

/* Acknowledge at once. Many servers write head and body apart and let the second wait for the
 * acknowledgement of the first, which the kernel likes to put off for 40 ms. It does not stay on,
 * so it is asked for again after each read. */
void dial_hurry(int handle)
{
    int on = 1;
    (void)setsockopt(handle, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}
