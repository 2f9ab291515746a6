/* Loaded before the C library into a daemon that has no option to leave the clock alone: what it does to the clock is
 * taken, told on standard error and forgotten; what it reads is true. A frequency that it has set it reads again. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static int steered;
static long frequency;

int clock_adjtime(clockid_t clock, struct timex *words)
{
    struct timex now = { .modes = 0 };
    int state = syscall(SYS_clock_adjtime, clock, &now);

    if (state < 0)
        return state;
    if (words->modes != 0)
        fprintf(stderr, "kept from the clock: modes %#x, frequency %ld, step %ld %ld\n", words->modes, words->freq,
                (long)words->time.tv_sec, (long)words->time.tv_usec);
    if (words->modes & ADJ_FREQUENCY) {
        steered = 1;
        frequency = words->freq;
    }
    if (steered)
        now.freq = frequency;
    now.modes = words->modes;
    *words = now;
    return state;
}

int ntp_adjtime(struct timex *words)
{
    return clock_adjtime(CLOCK_REALTIME, words);
}

int adjtimex(struct timex *words)
{
    return clock_adjtime(CLOCK_REALTIME, words);
}

int clock_settime(clockid_t clock, const struct timespec *at)
{
    fprintf(stderr, "kept from the clock: clock_settime of %ld to %ld\n", (long)clock, (long)at->tv_sec);
    return 0;
}

int settimeofday(const struct timeval *at, const struct timezone *zone)
{
    (void)zone;
    fprintf(stderr, "kept from the clock: settimeofday to %ld\n", at == NULL ? 0L : (long)at->tv_sec);
    return 0;
}
