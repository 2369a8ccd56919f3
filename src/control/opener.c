/* SPDX-License-Identifier: BSD-2-Clause */
/* The switch's side of the opener: start it, ask it, stop it.
 *
 * Theory of operation
 *
 * A request is one datagram, the reply another, with the fds. Requests are checked here first, so
 * that what was asked for wrongly is told without a trip. The opener has OPENER_WAIT_MS to answer;
 * a reply that comes later carries an old sequence number: its fds are closed and it is forgotten.
 * When the switch ends, however that happens, the opener reads the end of its socket and exits.
 */
#include "control/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/util.h"
#include "control/opener_protocol.h"

#define OPENER_WAIT_MS	    5000
#define OPENER_STOP_WAIT_MS 500

struct opener {
	int fd;
	pid_t pid;
	uint32_t sequence;
};

static _Noreturn void child_main(int fd)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP};
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	int null;

	for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	prctl(PR_SET_NAME, "lastref-opener", 0, 0, 0);
	/* Its own errors travel in replies: it must not keep the caller's pipes open. */
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	if (fd > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	opener_child_run(fd);
}

int opener_start(struct opener **ret_opener)
{
	struct opener *o = calloc(1, sizeof(*o));
	int pair[2];
	int error;

	if (!o)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		error = -errno;
		goto free_opener;
	}
	o->pid = fork();
	if (o->pid < 0) {
		error = -errno;
		goto close_pair;
	}
	if (o->pid == 0)
		child_main(pair[1]);
	close(pair[1]);
	o->fd = pair[0];
	*ret_opener = o;
	return 0;
close_pair:
	close(pair[0]);
	close(pair[1]);
free_opener:
	free(o);
	return error;
}

void opener_stop(struct opener *o)
{
	const struct timespec pause = {.tv_nsec = NS_PER_MS};

	if (!o)
		return;
	close(o->fd);
	for (int ms = 0; ms < OPENER_STOP_WAIT_MS; ms++) {
		if (waitpid(o->pid, NULL, WNOHANG) != 0)
			goto free_opener;
		nanosleep(&pause, NULL);
	}
	kill(o->pid, SIGKILL); /* it hangs in the kernel, for instance in a remote file system */
	waitpid(o->pid, NULL, WNOHANG);
free_opener:
	free(o);
}

static void close_fds(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

/* Return: fds received, or negative errno. Only a whole reply with all its fds is taken. */
static int receive(struct opener *o, struct opener_reply *reply, int *fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * OPENER_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = reply, .iov_len = sizeof(*reply)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg;
	ssize_t n = recvmsg(o->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	unsigned count = 0;

	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
		count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), count * sizeof(int));
	}
	if (n != sizeof(*reply) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
	    count != reply->fd_count) {
		close_fds(fds, count);
		return -EPROTO;
	}
	return (int)count;
}

/* Wait for the reply to @sequence. Return: as receive(), -ETIMEDOUT */
static int await(struct opener *o, uint32_t sequence, struct opener_reply *reply, int *fds)
{
	uint64_t end_ns = clock_now_ns() + OPENER_WAIT_MS * NS_PER_MS;

	for (;;) {
		struct pollfd p = {.fd = o->fd, .events = POLLIN};
		uint64_t now_ns = clock_now_ns();
		int count;

		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((end_ns - now_ns) / NS_PER_MS) + 1) <= 0)
			continue;
		count = receive(o, reply, fds);
		if (count == -EAGAIN || count == -EINTR)
			continue;
		if (count < 0 || reply->sequence == sequence)
			return count;
		close_fds(fds, (unsigned)count);
	}
}

/* Return: fds received (as many as expected), or negative errno with @err set. */
static int ask(struct opener *o, struct opener_request *q, unsigned expected, int *ret_fds,
	       struct errmsg *err)
{
	struct opener_reply reply = {0};
	int fds[OPENER_FDS_MAX] = {0};
	int count;

	q->sequence = ++o->sequence;
	if (send(o->fd, q, sizeof(*q), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(*q))
		count = -errno;
	else
		count = await(o, q->sequence, &reply, fds);
	if (count < 0) {
		errmsg_set(err, "the opener process (pid %d) does not answer: %s", (int)o->pid,
			   strerror(-count));
		return count;
	}
	if (reply.result < 0) {
		close_fds(fds, (unsigned)count);
		*err = reply.err;
		err->text[sizeof(err->text) - 1] = 0;
		return reply.result;
	}
	ASSERT((unsigned)count == expected);
	if (expected)
		memcpy(ret_fds, fds, expected * sizeof(int));
	return count;
}

static int set_path(struct opener_request *q, const char *path, struct errmsg *err)
{
	size_t bytes = strlen(path);

	if (bytes == 0)
		return errmsg_set(err, "the path of a socket is empty");
	if (bytes >= sizeof(q->path)) {
		errmsg_set(err, "socket %s: the path has %zu bytes, a socket's at most %zu", path,
			   bytes, sizeof(q->path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(q->path, path, bytes + 1);
	return 0;
}

int opener_listen(struct opener *o, const char *path, unsigned mode, int uid, int gid,
		  struct errmsg *err)
{
	struct opener_request q = {.kind = OPENER_LISTEN, .mode = mode, .uid = uid, .gid = gid};
	int fd;
	int error = set_path(&q, path, err);

	if (error)
		return error;
	error = ask(o, &q, 1, &fd, err);
	if (error < 0)
		return error;
	/* It listens already; a second call makes us, not the opener, the process that a client
	 * or another switch sees at the other end (SO_PEERCRED). */
	if (listen(fd, OPENER_BACKLOG) < 0) {
		error = -errno;
		errmsg_set(err, "socket %s: cannot listen: %s", path, strerror(errno));
		close(fd);
		return error;
	}
	return fd;
}

int opener_connect(struct opener *o, const char *path, struct errmsg *err)
{
	struct opener_request q = {.kind = OPENER_CONNECT};
	int fd;
	int error = set_path(&q, path, err);

	if (error)
		return error;
	error = ask(o, &q, 1, &fd, err);
	return error < 0 ? error : fd;
}

void opener_unlink(struct opener *o, const char *path)
{
	struct opener_request q = {.kind = OPENER_UNLINK};
	struct errmsg err;

	if (set_path(&q, path, &err) == 0)
		ask(o, &q, 0, NULL, &err); /* the worst that is left is a stale socket */
}

/* Return: 0, -EINVAL when @name cannot be an interface's. */
static int set_ifname(char *to, const char *name, const char *what, struct errmsg *err)
{
	size_t bytes = strlen(name);

	if (bytes == 0 || bytes >= IFNAMSIZ)
		return errmsg_set(err, "%s '%s': the name of an interface has 1 to %d bytes", what,
				  name, IFNAMSIZ - 1);
	/* '%' would make the kernel choose a number. */
	if (strpbrk(name, "/:% \t") || !strcmp(name, ".") || !strcmp(name, ".."))
		return errmsg_set(err, "%s '%s': not a name for an interface", what, name);
	memcpy(to, name, bytes + 1);
	return 0;
}

int opener_tap(struct opener *o, const char *ifname, unsigned queue_count, const char *bridge,
	       int *ret_fds, struct errmsg *err)
{
	struct opener_request q = {.kind = OPENER_TAP, .queue_count = queue_count};
	int error = set_ifname(q.ifname, ifname, "tap", err);

	if (error)
		return error;
	if (bridge)
		error = set_ifname(q.bridge, bridge, "bridge", err);
	if (error)
		return error;
	if (queue_count < 1 || queue_count > OPENER_FDS_MAX)
		return errmsg_set(err, "tap %s: 1 to %d queues are possible", ifname,
				  OPENER_FDS_MAX);
	error = ask(o, &q, queue_count, ret_fds, err);
	return error < 0 ? error : 0;
}
