/* SPDX-License-Identifier: BSD-2-Clause */
/* A front-end's connection: from bytes and fds to whole messages, never waiting for it.
 *
 * Theory of operation
 *
 * Header and payload are received into private memory, each as far as the socket gives; a message
 * that was begun must end within MESSAGE_NS_MAX. Fds belong to the first byte of a header: anywhere
 * else, or more than fit, they are closed and the connection ends. A reply that the socket does not
 * take at once ends it, too: the front-end does not read.
 *
 * A wake-up handles MESSAGES_PER_TURN messages at most, and processor time is charged to the
 * connection: who used up its budget is not listened to until it has earned some again, so that a
 * flood of messages costs a few percent of this thread.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "vhost/device.h"

#define MESSAGES_PER_TURN 16
#define MESSAGE_US_MAX	  (2 * 1000 * 1000ull)
#define BUDGET_NS_MAX	  ((int64_t)(250 * NS_PER_MS))
#define BUDGET_SHARE	  20		 /* one part in so many of the time that goes by */
#define PAUSE_US_MIN	  (20 * 1000ull) /* pausing costs time itself: seldom, but for long */
#define PAUSE_US_MAX	  (1000 * 1000ull)
#define TIMER_ACCURACY_US 10000

#define HEADER_BYTES ((uint32_t)sizeof(struct vhost_header))

enum { READ_AGAIN, READ_MESSAGE, READ_CLOSED, READ_VIOLATION };

bool vhost_connection_is_dead(const struct vhost_connection *c)
{
	struct pollfd poller = {.fd = c->fd, .events = POLLRDHUP};

	return poll(&poller, 1, 0) == 1 && (poller.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

int vhost_reply(struct vhost_device *d, const struct vhost_message *request, const void *payload,
		uint32_t payload_bytes)
{
	struct vhost_header header = {
		.request = request->header.request,
		.flags = VHOST_VERSION | VHOST_FLAG_REPLY,
		.payload_bytes = payload_bytes,
	};
	struct iovec parts[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)payload, .iov_len = payload_bytes},
	};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent = sendmsg(d->connection.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0)
		return -errno;
	return (size_t)sent == sizeof(header) + payload_bytes ? 0 : -EAGAIN;
}

/* Keep the fds of @msg; false when they may not be there, or not all of them came. */
static bool take_fds(struct vhost_connection *c, struct msghdr *msg, bool allowed)
{
	bool good = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *part = CMSG_FIRSTHDR(msg); part; part = CMSG_NXTHDR(msg, part)) {
		size_t count;

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
			if (allowed && c->message.fd_count < VHOST_FDS_MAX)
				c->message.fds[c->message.fd_count++] = fd;
			else
				close(fd);
		}
		good = good && allowed;
	}
	return good;
}

/* Receive up to @bytes; > 0: so many came, else a READ_ value negated. */
static int receive(struct vhost_device *d, void *to, uint32_t bytes)
{
	struct vhost_connection *c = &d->connection;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = to, .iov_len = bytes};
	struct msghdr msg = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return -READ_AGAIN;
		vhost_violation(d, "receiving failed: %m");
		return -READ_CLOSED;
	}
	if (n == 0)
		return -READ_CLOSED;
	if (!take_fds(c, &msg, c->got == 0)) {
		vhost_violation(d, "more file descriptors came than a message may carry");
		return -READ_VIOLATION;
	}
	return (int)n;
}

static int header_check(struct vhost_device *d)
{
	const struct vhost_header *h = &d->connection.message.header;

	if ((h->flags & VHOST_VERSION_MASK) != VHOST_VERSION)
		vhost_violation(d, "message of version %u, 1 is spoken here",
				h->flags & VHOST_VERSION_MASK);
	else if (h->flags & VHOST_FLAG_REPLY)
		vhost_violation(d, "a reply to a question that was not asked");
	else if (h->payload_bytes > VHOST_PAYLOAD_MAX)
		vhost_violation(d, "message of %u bytes, at most %u are possible", h->payload_bytes,
				VHOST_PAYLOAD_MAX);
	else
		return READ_MESSAGE;
	return READ_VIOLATION;
}

/* Go on with the message. READ_MESSAGE: it is whole. */
static int read_message(struct vhost_device *d)
{
	struct vhost_connection *c = &d->connection;
	struct vhost_message *m = &c->message;

	for (;;) {
		uint32_t end = HEADER_BYTES, in_payload = 0;
		uint8_t *to;
		int n;

		if (c->got >= HEADER_BYTES) {
			in_payload = c->got - HEADER_BYTES;
			if (in_payload == m->header.payload_bytes)
				return READ_MESSAGE;
			end += m->header.payload_bytes;
			to = m->payload.bytes + in_payload;
		} else {
			to = (uint8_t *)&m->header + c->got;
		}
		n = receive(d, to, end - c->got);
		if (n <= 0)
			return -n;
		c->got += (uint32_t)n;
		if (c->got == HEADER_BYTES && end == HEADER_BYTES) {
			int verdict = header_check(d);

			if (verdict != READ_MESSAGE)
				return verdict;
		}
	}
}

static void message_begin(struct vhost_connection *c)
{
	c->got = 0;
	c->message.fd_count = 0;
	memset(&c->message.payload, 0, sizeof(c->message.payload));
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Charge @spent_ns; stop listening for a while when there is nothing left. */
static void charge(struct vhost_device *d, uint64_t spent_ns)
{
	struct vhost_connection *c = &d->connection;
	uint64_t now_ns = clock_now_ns();
	uint64_t pause_us;

	c->budget_ns += (int64_t)((now_ns - c->budget_at_ns) / BUDGET_SHARE);
	c->budget_at_ns = now_ns;
	if (c->budget_ns > BUDGET_NS_MAX)
		c->budget_ns = BUDGET_NS_MAX;
	c->budget_ns -= (int64_t)spent_ns;
	if (c->budget_ns >= 0)
		return;
	d->counters.pauses++;
	if (c->budget_ns < -BUDGET_NS_MAX / BUDGET_SHARE)
		c->budget_ns = -BUDGET_NS_MAX / BUDGET_SHARE; /* no more debt than a pause earns */
	pause_us = (uint64_t)-c->budget_ns * BUDGET_SHARE / NS_PER_US;
	pause_us = min_u64(pause_us + PAUSE_US_MIN, PAUSE_US_MAX);
	sd_event_source_set_enabled(c->readable, SD_EVENT_OFF);
	sd_event_source_set_time_relative(c->resume, pause_us);
	sd_event_source_set_enabled(c->resume, SD_EVENT_ONESHOT);
}

/* Return: false when the connection ended */
static bool message_turn(struct vhost_device *d)
{
	struct vhost_connection *c = &d->connection;
	enum vhost_verdict verdict;
	bool was_begun = c->got > 0;
	int got = read_message(d);

	switch (got) {
	case READ_AGAIN:
		if (c->got > 0 && !was_begun) {
			sd_event_source_set_time_relative(c->late, MESSAGE_US_MAX);
			sd_event_source_set_enabled(c->late, SD_EVENT_ONESHOT);
		}
		return true;
	case READ_CLOSED:
		snprintf(d->why, sizeof(d->why), "the front-end closed the connection");
		vhost_disconnect(d, true);
		return false;
	case READ_VIOLATION:
		vhost_disconnect(d, false);
		return false;
	}
	if (was_begun)
		sd_event_source_set_enabled(c->late, SD_EVENT_OFF);
	c->message_count++;
	verdict = vhost_message_handle(d, &c->message);
	vhost_message_close_fds(&c->message);
	message_begin(c);
	if (verdict == VHOST_CLOSE) {
		vhost_disconnect(d, false);
		return false;
	}
	return true;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vhost_device *d = userdata;
	uint64_t before_ns = cpu_ns();

	(void)source;
	(void)fd;
	(void)revents;
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		uint64_t count = d->connection.message_count;

		if (!message_turn(d))
			return 0;
		if (d->connection.message_count == count)
			break; /* nothing more for now */
	}
	charge(d, cpu_ns() - before_ns);
	return 0;
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vhost_device *d = userdata;

	(void)source;
	(void)usec;
	vhost_violation(d, "a message was begun and not ended within 2 s");
	vhost_disconnect(d, false);
	return 0;
}

static int on_resume(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vhost_device *d = userdata;

	(void)source;
	(void)usec;
	sd_event_source_set_enabled(d->connection.readable, SD_EVENT_ON);
	return 0;
}

static int timer_new(struct vhost_device *d, sd_event_time_handler_t handler,
		     sd_event_source **ret_timer)
{
	int error = sd_event_add_time_relative(d->config.loop, ret_timer, CLOCK_MONOTONIC, 0,
					       TIMER_ACCURACY_US, handler, d);

	return error < 0 ? error : sd_event_source_set_enabled(*ret_timer, SD_EVENT_OFF);
}

int vhost_connection_open(struct vhost_device *d, int fd)
{
	struct vhost_connection *c = &d->connection;
	struct ucred peer = {.pid = -1, .uid = (uid_t)-1};
	socklen_t peer_bytes = sizeof(peer);
	int error;

	ASSERT(c->fd < 0);
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes);
	c->fd = fd;
	c->pid = peer.pid;
	c->uid = (int)peer.uid;
	c->since_ns = clock_now_ns();
	c->budget_ns = BUDGET_NS_MAX;
	c->budget_at_ns = c->since_ns;
	c->message_count = 0;
	message_begin(c);
	error = timer_new(d, on_late, &c->late);
	if (error >= 0)
		error = timer_new(d, on_resume, &c->resume);
	if (error >= 0)
		error = sd_event_add_io(d->config.loop, &c->readable, fd, EPOLLIN, on_readable, d);
	if (error < 0)
		vhost_connection_close(d);
	return error < 0 ? error : 0;
}

void vhost_connection_close(struct vhost_device *d)
{
	struct vhost_connection *c = &d->connection;

	c->readable = sd_event_source_disable_unref(c->readable);
	c->late = sd_event_source_disable_unref(c->late);
	c->resume = sd_event_source_disable_unref(c->resume);
	vhost_message_close_fds(&c->message);
	close(c->fd);
	c->fd = -1;
}
