/* SPDX-License-Identifier: BSD-2-Clause */
/* The opener process: one request after the other, until the switch is gone.
 *
 * It keeps only the capabilities that its requests need, if it has them at all.
 */
#include "control/opener_protocol.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

/* Sockets in other people's folders, given to other users; taps and bridges. */
#define NEEDED_CAPS                                                                                \
	((1u << CAP_CHOWN) | (1u << CAP_DAC_OVERRIDE) | (1u << CAP_FOWNER) | (1u << CAP_NET_ADMIN))

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &header, data) < 0)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		data[i].permitted &= i == 0 ? NEEDED_CAPS : 0;
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	/* Only ever fewer than before: cannot be refused. */
	syscall(SYS_capset, &header, data);
}

static int serve(const struct opener_request *q, int *fds, unsigned *ret_count, struct errmsg *err)
{
	int error;

	switch (q->kind) {
	case OPENER_LISTEN:
		error = opener_do_listen(q, fds, err);
		*ret_count = 1;
		return error;
	case OPENER_CONNECT:
		error = opener_do_connect(q, fds, err);
		*ret_count = 1;
		return error;
	case OPENER_UNLINK:
		*ret_count = 0;
		return opener_do_unlink(q, err);
	case OPENER_TAP:
		error = opener_do_tap(q, fds, err);
		*ret_count = q->queue_count;
		return error;
	default:
		return errmsg_set(err, "the opener was asked for something unknown");
	}
}

static void reply(int fd, struct opener_reply *r, const int *fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * OPENER_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = r, .iov_len = sizeof(*r)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (r->fd_count) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * r->fd_count);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * r->fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * r->fd_count);
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		return; /* the switch is gone: the next receive says so too */
}

/* The switch is not trusted with our rights: what it sent is checked again. */
static bool is_sane(const struct opener_request *q, ssize_t bytes)
{
	if (bytes != sizeof(*q))
		return false;
	if (!memchr(q->path, 0, sizeof(q->path)) || !memchr(q->ifname, 0, sizeof(q->ifname)) ||
	    !memchr(q->bridge, 0, sizeof(q->bridge)))
		return false;
	if (q->kind == OPENER_TAP)
		return q->queue_count >= 1 && q->queue_count <= OPENER_FDS_MAX;
	/* An empty path would be an address without a name in the file system. */
	return q->path[0] && (q->mode & ~0777u) == 0;
}

_Noreturn void opener_child_run(int fd)
{
	umask(0);
	drop_capabilities();
	for (;;) {
		struct opener_request q;
		struct opener_reply r = {0};
		int fds[OPENER_FDS_MAX] = {0};
		unsigned count = 0;
		ssize_t n = recv(fd, &q, sizeof(q), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (!is_sane(&q, n)) {
			r.result = errmsg_set(&r.err, "the opener was sent a malformed request");
		} else {
			r.sequence = q.sequence;
			r.result = serve(&q, fds, &count, &r.err);
		}
		r.fd_count = r.result == 0 ? count : 0;
		reply(fd, &r, fds);
		for (unsigned i = 0; i < r.fd_count; i++)
			close(fds[i]);
	}
	opener_unlink_all();
	_exit(0);
}
