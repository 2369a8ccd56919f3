/* SPDX-License-Identifier: BSD-2-Clause */
/* How a worker sleeps and is woken.
 *
 * Theory of operation
 *
 * Before it sleeps a worker asks its sources for kicks, which look once more behind a fence; then
 * it tells everybody that it is asleep, after which it must not touch a source, and looks at its
 * mailbox and at whether it was kicked since it began. Whoever gives it work stores the work, then
 * the call or the kick, then looks at the flag and writes the wake eventfd. Both sides have a full
 * fence between their store and their load, so one of them sees the other.
 *
 * A guest's kick eventfd is never read: its VMM could have made it blocking and emptied it. Every
 * write to an eventfd is an edge, whatever its count, so edges are what is waited for.
 */
#include "engine/private.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#define EVENTS_MAX 16

int wait_init(struct worker *w)
{
	struct worker_private *priv = w->priv;
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	priv->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	priv->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (priv->epoll_fd < 0 || priv->wake_fd < 0 ||
	    epoll_ctl(priv->epoll_fd, EPOLL_CTL_ADD, priv->wake_fd, &ev)) {
		int err = -errno;

		wait_fini(w);
		return err;
	}
	return 0;
}

void wait_fini(struct worker *w)
{
	if (w->priv->epoll_fd >= 0)
		close(w->priv->epoll_fd);
	if (w->priv->wake_fd >= 0)
		close(w->priv->wake_fd);
	w->priv->epoll_fd = -1;
	w->priv->wake_fd = -1;
}

void wait_add(struct worker *w, struct source *s)
{
	for (unsigned i = 0; i < SOURCE_FDS_MAX; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};

		if (s->fds_are_events)
			ev.events |= EPOLLET;
		if (s->fds[i] >= 0 && epoll_ctl(w->priv->epoll_fd, EPOLL_CTL_ADD, s->fds[i], &ev))
			log_warn("port %s: cannot wait for its queue %u: errno %d", s->port->name,
				 s->queue_index, errno);
	}
}

void wait_remove(struct worker *w, struct source *s)
{
	for (unsigned i = 0; i < SOURCE_FDS_MAX; i++)
		if (s->fds[i] >= 0)
			epoll_ctl(w->priv->epoll_fd, EPOLL_CTL_DEL, s->fds[i], NULL);
}

static void wakeups_take(struct worker *w, const struct epoll_event *events, int count)
{
	uint64_t value;

	for (int i = 0; i < count; i++) {
		struct source *s = events[i].data.ptr;

		if (s)
			counter_add(&s->port->counters[w->index].kicks, 1);
		else if (read(w->priv->wake_fd, &value, sizeof(value)) < 0)
			continue; /* emptied before: a wake-up for nothing */
	}
}

static bool sources_arm(struct worker *w)
{
	bool work = false;

	for (unsigned i = 0; i < w->priv->source_count; i++)
		work |= w->priv->sources[i]->ops->arm(w->priv->sources[i]);
	return work;
}

static void sources_disarm(struct worker *w)
{
	for (unsigned i = 0; i < w->priv->source_count; i++)
		w->priv->sources[i]->ops->disarm(w->priv->sources[i]);
}

static void epoll_until(struct worker *w, uint64_t deadline_ns)
{
	struct epoll_event events[EVENTS_MAX];
	struct timespec timeout = {0};
	uint64_t now_ns = clock_now_ns();
	int count;

	if (deadline_ns > now_ns) {
		timeout.tv_sec = (time_t)((deadline_ns - now_ns) / NS_PER_S);
		timeout.tv_nsec = (long)((deadline_ns - now_ns) % NS_PER_S);
	}
	count = epoll_pwait2(w->priv->epoll_fd, events, EVENTS_MAX, deadline_ns ? &timeout : NULL,
			     NULL);
	if (count > 0)
		wakeups_take(w, events, count);
}

void wait_sleep(struct worker *w)
{
	struct worker_private *priv = w->priv;
	uint64_t deadline_ns = hold_expire(w);

	/* Work told of before this is seen by arm(); what comes later is told of below. */
	atomic_exchange(&priv->kicked, false);
	if (sources_arm(w)) {
		sources_disarm(w);
		return;
	}
	watchdog_worker_asleep(w);
	atomic_store_explicit(&priv->asleep, true, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load(&priv->call) && !atomic_load(&priv->kicked) && !atomic_load(&priv->stop)) {
		counter_add(&w->counters.sleeps, 1);
		epoll_until(w, deadline_ns);
	}
	/* From here on engine_quiesce() waits for our next turn again. */
	atomic_store_explicit(&priv->asleep, false, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	watchdog_worker_awake(w);
	sources_disarm(w);
}

void wait_wake(struct worker *w)
{
	uint64_t one = 1;

	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&w->priv->asleep, memory_order_seq_cst))
		return;
	/* Our own non-blocking eventfd: full means that it wakes anyway. */
	if (write(w->priv->wake_fd, &one, sizeof(one)) < 0)
		return;
}
