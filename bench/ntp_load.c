/* A closed-loop NTP load generator for loopback: a window of requests per socket, batches of recvmmsg and sendmmsg.
 *
 * usage: ntp_load ADDRESS PORT SECONDS MAXIMUM SOCKETS WINDOW FIRST [FILE]
 *
 * FILE holds requests that are sent as they are, in turn, such as those with NTS, which cannot be changed once they are
 * sealed: in front of each its length in two octets, the higher first. All have the same length and the same transmit
 * timestamp. A good reply has that as origin, a stratum, is longer than a header, and no longer than the request.
 *
 * It looks for replies every PAUSE and never waits for one: a server would otherwise pay for waking it up, with each
 * reply, which on a virtual machine costs more than the reply.
 *
 * Socket i is bound to 127.0.0.(FIRST+i) for an IPv4 target, so that a server that spreads clients by address spreads
 * them. It stops after SECONDS or MAXIMUM requests, whichever comes first, and prints "sent replies bad seconds".
 * Only loopback targets are accepted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, LENGTH = 48, LONGEST = 1280, SOCKETS = 64, REQUESTS = 4096 };
static const struct timespec PAUSE = {.tv_nsec = 100 * 1000};
static const double LOST = 0.2; /* seconds without any reply */

struct lane {
    int fd;
    int outstanding;
    long sequence;
    double heard;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static unsigned char out[BATCH][LONGEST], in[BATCH][LONGEST];
static size_t length = LENGTH;
static unsigned char fixed[REQUESTS][LONGEST];
static int fixed_count, next_fixed;
static struct iovec out_vector[BATCH], in_vector[BATCH];
static struct mmsghdr out_message[BATCH], in_message[BATCH];

static int send_some(struct lane *lane, int count, int index) {
    for (int i = 0; i < count; i++) {
        unsigned long cookie = ((unsigned long)(index + 1) << 48) + (unsigned long)++lane->sequence;
        if (fixed_count) {
            out_vector[i].iov_base = fixed[next_fixed];
            next_fixed = (next_fixed + 1) % fixed_count;
            continue;
        }
        out[i][0] = 4 << 3 | 3;
        memcpy(&out[i][40], &cookie, 8);
    }
    int sent = sendmmsg(lane->fd, out_message, count, 0);
    return sent < 0 ? 0 : sent;
}

static int is_fine(int lane, unsigned i) {
    if (fixed_count)
        return in_message[i].msg_len > LENGTH && in_message[i].msg_len <= length && (in[i][0] & 7) == 4 && in[i][1] &&
               !memcmp(&in[i][24], &fixed[0][40], 8);
    unsigned long cookie;
    memcpy(&cookie, &in[i][24], 8);
    return in_message[i].msg_len == LENGTH && (in[i][0] & 7) == 4 && cookie >> 48 == (unsigned)(lane + 1);
}

static int read_requests(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file)
        return -1;
    for (int high; fixed_count < REQUESTS && (high = fgetc(file)) != EOF; fixed_count++) {
        size_t size = (size_t)high << 8 | (size_t)fgetc(file);
        if (size > LONGEST || (fixed_count && size != length) || fread(fixed[fixed_count], 1, size, file) != size)
            return -1;
        length = size;
    }
    fclose(file);
    return fixed_count && length >= LENGTH ? 0 : -1;
}

int main(int argc, char **argv) {
    if (argc != 8 && argc != 9) {
        fprintf(stderr, "usage: ntp_load ADDRESS PORT SECONDS MAXIMUM SOCKETS WINDOW FIRST [FILE]\n");
        return 2;
    }
    double limit = atof(argv[3]);
    long maximum = atol(argv[4]);
    int count = atoi(argv[5]), window = atoi(argv[6]), first = atoi(argv[7]);
    struct sockaddr_in target4 = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    struct sockaddr_in6 target6 = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[2]))};
    int v6 = strchr(argv[1], ':') != NULL;
    if (v6 ? inet_pton(AF_INET6, argv[1], &target6.sin6_addr) != 1 || !IN6_IS_ADDR_LOOPBACK(&target6.sin6_addr)
           : inet_pton(AF_INET, argv[1], &target4.sin_addr) != 1 || ntohl(target4.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "ntp_load: only loopback addresses are allowed\n");
        return 2;
    }
    if (limit > 60 || count < 1 || count > SOCKETS || window < 1 || window > BATCH || first + count > 250) {
        fprintf(stderr, "ntp_load: out of range\n");
        return 2;
    }
    if (argc == 9 && read_requests(argv[8])) {
        fprintf(stderr, "ntp_load: %s holds no requests\n", argv[8]);
        return 2;
    }
    for (int i = 0; i < BATCH; i++) {
        out_vector[i] = (struct iovec){out[i], length};
        in_vector[i] = (struct iovec){in[i], sizeof in[i]};
        out_message[i].msg_hdr = (struct msghdr){.msg_iov = &out_vector[i], .msg_iovlen = 1};
        in_message[i].msg_hdr = (struct msghdr){.msg_iov = &in_vector[i], .msg_iovlen = 1};
    }
    struct lane lanes[SOCKETS] = {0};
    for (int i = 0; i < count; i++) {
        lanes[i].fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        struct sockaddr_in own = {.sin_family = AF_INET};
        own.sin_addr.s_addr = htonl(0x7f000000 + first + i);
        if (lanes[i].fd < 0 || (!v6 && bind(lanes[i].fd, (struct sockaddr *)&own, sizeof own)) ||
            connect(lanes[i].fd, v6 ? (void *)&target6 : (void *)&target4, v6 ? sizeof target6 : sizeof target4)) {
            perror("ntp_load: socket");
            return 1;
        }
    }
    long sent = 0, replies = 0, bad = 0;
    double start = now(), clock = start;
    while ((clock = now()) - start < limit) {
        int waiting = 0;
        for (int i = 0; i < count; i++) {
            struct lane *lane = &lanes[i];
            if (lane->outstanding && clock - lane->heard > LOST)
                lane->outstanding = 0; /* lost: start a new window */
            int room = window - lane->outstanding;
            if (room * 2 >= window && sent < maximum) {
                if (!lane->outstanding)
                    lane->heard = clock;
                int done = send_some(lane, room, i);
                lane->outstanding += done;
                sent += done;
            }
            waiting += lane->outstanding;
        }
        if (!waiting && sent >= maximum)
            break;
        nanosleep(&PAUSE, NULL);
        for (int i = 0; i < count; i++) {
            int got = recvmmsg(lanes[i].fd, in_message, BATCH, MSG_DONTWAIT, NULL);
            if (got < 0)
                continue;
            for (int j = 0; j < got; j++) {
                int fine = is_fine(i, j);
                replies += fine;
                bad += !fine;
            }
            lanes[i].heard = clock;
            lanes[i].outstanding -= got < lanes[i].outstanding ? got : lanes[i].outstanding;
        }
    }
    printf("%ld %ld %ld %.6f\n", sent, replies, bad, now() - start);
    return 0;
}
