/* SPDX-License-Identifier: BSD-2-Clause */
/* The front-end's socket: connecting, listening, whole messages with time limits. */
#include "guest/frontend.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/util.h"

#define FDS_MAX 253 /* what the kernel lets through in one message */

static const struct timespec retry_wait = {.tv_nsec = 5000000};

const char *frontend_request_name(uint32_t request)
{
	switch (request) {
#define X(name, number)                                                                            \
	case number:                                                                               \
		return #name;
		FRONTEND_REQUESTS(X)
#undef X
	default:
		return "?";
	}
}

int frontend_fail(struct frontend *f, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->err.text, sizeof(f->err.text), format, args);
	va_end(args);
	return error;
}

static void forget(struct frontend *f)
{
	f->offered = 0;
	f->features = 0;
	f->protocol_offered = 0;
	f->protocol = 0;
	f->queue_pairs = 1;
	f->mem_slots = FRONTEND_TABLE_MAX;
	f->memory = NULL;
}

void frontend_init(struct frontend *f)
{
	memset(f, 0, sizeof(*f));
	f->fd = -1;
	f->listen_fd = -1;
	f->timeout_ms = FRONTEND_TIMEOUT_MS;
	for (unsigned i = 0; i < FRONTEND_VRINGS_MAX; i++)
		f->vrings[i] = (struct frontend_vring){-1, -1, -1};
	forget(f);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void frontend_disconnect(struct frontend *f)
{
	close_fd(&f->fd);
	forget(f);
}

void frontend_fini(struct frontend *f)
{
	frontend_disconnect(f);
	if (f->listen_fd >= 0)
		unlink(f->address.sun_path);
	close_fd(&f->listen_fd);
	for (unsigned i = 0; i < FRONTEND_VRINGS_MAX; i++) {
		close_fd(&f->vrings[i].kick);
		close_fd(&f->vrings[i].call);
		close_fd(&f->vrings[i].err);
	}
}

static int set_address(struct frontend *f, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(a.sun_path))
		return frontend_fail(f, -ENAMETOOLONG, "%s: longer than %zu bytes", path,
				     sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path));
	f->address = a;
	return 0;
}

static int connect_once(struct frontend *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&f->address, sizeof(f->address)) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	f->fd = fd;
	return 0;
}

static int connect_for(struct frontend *f, int wait_ms)
{
	uint64_t end_ns = clock_now_ns() + (uint64_t)wait_ms * NS_PER_MS;
	int error;

	for (;;) {
		error = connect_once(f);
		if (error != -ENOENT && error != -ECONNREFUSED && error != -EAGAIN)
			break;
		if (clock_now_ns() >= end_ns)
			break;
		nanosleep(&retry_wait, NULL);
	}
	if (error)
		frontend_fail(f, error, "%s: connect: %s", f->address.sun_path, strerror(-error));
	return error;
}

int frontend_connect(struct frontend *f, const char *path, int wait_ms)
{
	int error = set_address(f, path);

	ASSERT(f->fd < 0);
	return error ? error : connect_for(f, wait_ms);
}

int frontend_listen(struct frontend *f, const char *path)
{
	int fd, error = set_address(f, path);

	ASSERT(f->listen_fd < 0);
	if (error)
		return error;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return frontend_fail(f, -errno, "socket: %s", strerror(errno));
	if (bind(fd, (const struct sockaddr *)&f->address, sizeof(f->address)) < 0 ||
	    listen(fd, 1) < 0) {
		error = frontend_fail(f, -errno, "%s: listen: %s", path, strerror(errno));
		close(fd);
		return error;
	}
	f->listen_fd = fd;
	return 0;
}

/* Wait until @fd is ready for @events or @end_ns has come. */
static int wait_until(struct frontend *f, int fd, short events, uint64_t end_ns, const char *what)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		uint64_t now_ns = clock_now_ns(), left_ms = 0;
		int n;

		if (now_ns < end_ns)
			left_ms = (end_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
		n = poll(&p, 1, (int)min_u64(left_ms, 1000000));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return frontend_fail(f, -errno, "%s: poll: %s", what, strerror(errno));
		if (!n && !left_ms)
			return frontend_fail(f, -ETIMEDOUT, "%s: no answer in time", what);
	}
}

int frontend_accept(struct frontend *f, int wait_ms)
{
	int error;

	ASSERT(f->fd < 0);
	error = wait_until(f, f->listen_fd, POLLIN, clock_now_ns() + (uint64_t)wait_ms * NS_PER_MS,
			   f->address.sun_path);
	if (error)
		return error;
	f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (f->fd < 0)
		return frontend_fail(f, -errno, "%s: accept: %s", f->address.sun_path,
				     strerror(errno));
	return 0;
}

void frontend_adopt(struct frontend *f, int fd)
{
	ASSERT(f->fd < 0);
	f->fd = fd;
}

int frontend_reopen(struct frontend *f, int wait_ms)
{
	frontend_disconnect(f);
	return f->listen_fd >= 0 ? frontend_accept(f, wait_ms) : connect_for(f, wait_ms);
}

bool frontend_is_alive(const struct frontend *f)
{
	struct pollfd p = {.fd = f->fd, .events = POLLRDHUP};

	if (f->fd < 0)
		return false;
	return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Room for descriptors beside a message. */
union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

static void attach_fds(struct msghdr *m, union control *control, const int *fds, unsigned count)
{
	struct cmsghdr *c;

	m->msg_control = control->room;
	m->msg_controllen = CMSG_SPACE(sizeof(int) * count);
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
}

int frontend_send_bytes(struct frontend *f, const void *bytes, size_t count, const int *fds,
			unsigned fd_count)
{
	uint64_t end_ns = clock_now_ns() + (uint64_t)f->timeout_ms * NS_PER_MS;
	const uint8_t *at = bytes;
	union control control;

	ASSERT(fd_count <= FDS_MAX);
	if (f->fd < 0)
		return frontend_fail(f, -ENOTCONN, "not connected");
	while (count) {
		struct iovec iov = {.iov_base = (void *)(uintptr_t)at, .iov_len = count};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;
		int error;

		if (fd_count)
			attach_fds(&m, &control, fds, fd_count);
		n = sendmsg(f->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			at += n;
			count -= (size_t)n;
			fd_count = 0;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return frontend_fail(f, errno == EPIPE ? -ECONNRESET : -errno, "send: %s",
					     strerror(errno));
		error = wait_until(f, f->fd, POLLOUT, end_ns, "send");
		if (error)
			return error;
	}
	return 0;
}

int frontend_send_raw(struct frontend *f, uint32_t request, uint32_t flags, const void *payload,
		      uint32_t size, const int *fds, unsigned fd_count)
{
	uint8_t bytes[sizeof(struct frontend_header) + FRONTEND_PAYLOAD_MAX];
	struct frontend_header h = {request, flags, size};

	ASSERT(size <= FRONTEND_PAYLOAD_MAX);
	memcpy(bytes, &h, sizeof(h));
	if (size)
		memcpy(bytes + sizeof(h), payload, size);
	return frontend_send_bytes(f, bytes, sizeof(h) + size, fds, fd_count);
}

/* Keep the first descriptor in @ret_fd when somebody wants one; close the others. */
static void take_fds(struct msghdr *m, int *ret_fd)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (ret_fd && *ret_fd < 0)
				*ret_fd = fd;
			else
				close(fd);
		}
	}
}

static int recv_bytes(struct frontend *f, void *bytes, size_t count, int *ret_fd, uint64_t end_ns,
		      const char *what)
{
	uint8_t *at = bytes;

	while (count) {
		struct iovec iov = {.iov_base = at, .iov_len = count};
		union control control;
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control.room,
				   .msg_controllen = sizeof(control.room)};
		ssize_t n = recvmsg(f->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		int error;

		if (n > 0) {
			take_fds(&m, ret_fd);
			at += n;
			count -= (size_t)n;
			continue;
		}
		if (n == 0 || errno == ECONNRESET)
			return frontend_fail(f, -ECONNRESET, "%s: the back-end closed", what);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return frontend_fail(f, -errno, "%s: receive: %s", what, strerror(errno));
		error = wait_until(f, f->fd, POLLIN, end_ns, what);
		if (error)
			return error;
	}
	return 0;
}

int frontend_recv_reply(struct frontend *f, uint32_t request, void *payload, uint32_t size,
			uint32_t *ret_size, int *ret_fd)
{
	uint64_t end_ns = clock_now_ns() + (uint64_t)f->timeout_ms * NS_PER_MS;
	const char *what = request ? frontend_request_name(request) : "reply";
	struct frontend_header h;
	int error, fd = -1;

	if (f->fd < 0)
		return frontend_fail(f, -ENOTCONN, "%s: not connected", what);
	error = recv_bytes(f, &h, sizeof(h), &fd, end_ns, what);
	if (error)
		goto fail;
	error = -EPROTO;
	if (h.flags != (FRONTEND_VERSION | FRONTEND_REPLY)) {
		frontend_fail(f, error, "%s: reply has flags %#x", what, h.flags);
		goto fail;
	}
	if (request && h.request != request) {
		frontend_fail(f, error, "%s: answered by %u (%s)", what, h.request,
			      frontend_request_name(h.request));
		goto fail;
	}
	if (h.size > size || (!ret_size && h.size != size)) {
		frontend_fail(f, error, "%s: reply of %u bytes, expected %u", what, h.size, size);
		goto fail;
	}
	error = recv_bytes(f, payload, h.size, &fd, end_ns, what);
	if (error)
		goto fail;
	if (ret_size)
		*ret_size = h.size;
	if (ret_fd)
		*ret_fd = fd;
	else
		close_fd(&fd);
	return 0;
fail:
	close_fd(&fd);
	return error;
}

void frontend_kick(struct frontend *f, uint32_t index)
{
	if (f->vrings[index].kick >= 0)
		/* Full means that the back-end has a kick to read already. */
		(void)!eventfd_write(f->vrings[index].kick, 1);
}

uint64_t frontend_clear_call(struct frontend *f, uint32_t index)
{
	eventfd_t n = 0;

	return f->vrings[index].call < 0 || eventfd_read(f->vrings[index].call, &n) < 0 ? 0 : n;
}
