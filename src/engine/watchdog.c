/* SPDX-License-Identifier: BSD-2-Clause */
/* Frees a worker that a hostile eventfd holds.
 *
 * Theory of operation
 *
 * A guest's call eventfd is shared with its VMM, which can fill it and make it blocking at any
 * moment: a plain write then blocks for ever. engine_call_guest() asks poll() first; what slips
 * through between is seen here: a thread looks at every awake worker each WATCHDOG_NS and sends a
 * signal to one that has been writing for longer than that, which ends the write with EINTR.
 * While all workers sleep the thread sleeps too.
 */
#include "engine/private.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define WATCHDOG_NS	(2500 * NS_PER_US)
#define WATCHDOG_SIGNAL SIGURG

static void on_signal(int signal)
{
	(void)signal; /* its only effect is EINTR */
}

static void futex_wait(_Atomic unsigned *word, unsigned value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic unsigned *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void look_at(struct worker *w)
{
	uint64_t since_ns = atomic_load(&w->priv->calling_since_ns);

	if (since_ns && clock_now_ns() - since_ns > WATCHDOG_NS)
		pthread_kill(w->priv->thread, WATCHDOG_SIGNAL);
}

static void *watchdog_thread(void *arg)
{
	const struct timespec pause = {.tv_nsec = WATCHDOG_NS};
	struct engine *e = arg;

	pthread_setname_np(pthread_self(), "lr-watchdog");
	while (!atomic_load(&e->watchdog_stop)) {
		if (atomic_load(&e->awake_count) == 0) {
			futex_wait(&e->awake_count, 0);
			continue;
		}
		nanosleep(&pause, NULL);
		for (unsigned i = 0; i < e->config.worker_count; i++)
			look_at(e->workers[i]);
	}
	return NULL;
}

int watchdog_start(struct engine *e)
{
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */

	sigemptyset(&action.sa_mask);
	if (sigaction(WATCHDOG_SIGNAL, &action, NULL))
		return -errno;
	return -pthread_create(&e->watchdog, NULL, watchdog_thread, e);
}

void watchdog_stop(struct engine *e)
{
	atomic_store(&e->watchdog_stop, true);
	atomic_fetch_add(&e->awake_count, 1);
	futex_wake(&e->awake_count);
	pthread_join(e->watchdog, NULL);
}

void watchdog_worker_awake(struct worker *w)
{
	if (atomic_fetch_add(&w->engine->awake_count, 1) == 0)
		futex_wake(&w->engine->awake_count);
}

void watchdog_worker_asleep(struct worker *w)
{
	unsigned before = atomic_fetch_sub(&w->engine->awake_count, 1);

	ASSERT(before > 0);
}

void engine_call_guest(struct worker *w, int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLOUT};
	uint64_t one = 1;

	/* Full: the guest has an interrupt pending already. */
	if (poll(&poller, 1, 0) != 1 || !(poller.revents & POLLOUT))
		return;
	atomic_store(&w->priv->calling_since_ns, clock_now_ns());
	if (write(fd, &one, sizeof(one)) < 0)
		errno = 0; /* filled meanwhile, or ended by the watchdog: the same */
	atomic_store(&w->priv->calling_since_ns, 0);
}
