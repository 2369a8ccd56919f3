/* SPDX-License-Identifier: BSD-2-Clause */
/* The opener's unix sockets.
 *
 * Theory of operation
 *
 * A socket gets its permission bits before it has a name (fchmod() of the unbound socket), its
 * owner after that and before listen(): until then nobody can connect. A name that is taken is
 * looked at: somebody accepts there, then it is an error that names the process; nobody does, then
 * it is stale and replaced. Two switches that start at once would both find the other's socket
 * stale between bind() and listen(), so all of this happens under a lock of the folder.
 *
 * Every socket made here is remembered with its inode and removed only if it is still that one:
 * when asked to, or at the latest when the switch has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "control/opener_protocol.h"

#define LOCK_WAIT_MS 300

struct made {
	struct list node;
	dev_t device;
	ino_t inode;
	char path[OPENER_PATH_BYTES];
};

static struct list made_sockets = {&made_sockets, &made_sockets};

static int fail(struct errmsg *err, const char *path, const char *what)
{
	int error = errno;

	errmsg_set(err, "socket %s: %s: %s", path, what, strerror(error));
	return -error;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	memcpy(a.sun_path, path, strlen(path) + 1);
	return a;
}

/* The folder of @path, locked. Another user can hold the lock of a shared folder: then after a
 * while we go on without. Return: fd, -1 when there is none. */
static int lock_folder(const char *path)
{
	const struct timespec pause = {.tv_nsec = NS_PER_MS};
	char folder[OPENER_PATH_BYTES];
	char *slash;
	int fd;

	memcpy(folder, path, strlen(path) + 1);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder ? 1 : 0] = 0;
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (int ms = 0; ms < LOCK_WAIT_MS; ms++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	return fd;
}

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Whoever listens at @path, by connecting. Return: -EADDRINUSE, 0 when it is stale, other errors.
 */
static int probe(const char *path, struct errmsg *err)
{
	struct sockaddr_un a = address_of(path);
	struct ucred peer = {0};
	socklen_t bytes = sizeof(peer);
	int error = 0;
	int fd = new_socket();

	if (fd < 0)
		return fail(err, path, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		error = errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		peer.pid = 0;
	close(fd);
	if (error == ECONNREFUSED || error == ENOENT)
		return 0;
	if (error == EPROTOTYPE)
		errmsg_set(err, "socket %s: a socket of another kind is there", path);
	else if (error && error != EAGAIN)
		return errno = error, fail(err, path, "cannot see who listens there");
	else if (peer.pid)
		errmsg_set(err, "socket %s: another process listens there (pid %d)", path,
			   (int)peer.pid);
	else /* its backlog is full, or it lives in another pid namespace */
		errmsg_set(err, "socket %s: another process listens there", path);
	return -EADDRINUSE;
}

/* Whether it is one of ours; asking it by a connection would look like a client. */
static bool is_made_here(const struct stat *st)
{
	list_for_each (node, &made_sockets) {
		const struct made *m = list_entry(node, struct made, node);

		if (st->st_dev == m->device && st->st_ino == m->inode)
			return true;
	}
	return false;
}

/* Make the name free, unless it is somebody's. */
static int clear_name(const char *path, struct errmsg *err)
{
	struct stat st;
	int error;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : fail(err, path, "cannot look at it");
	if (!S_ISSOCK(st.st_mode)) {
		errmsg_set(err, "socket %s: something that is no socket is there", path);
		return -EEXIST;
	}
	if (is_made_here(&st)) {
		errmsg_set(err, "socket %s: this switch listens there already", path);
		return -EADDRINUSE;
	}
	error = probe(path, err);
	if (error)
		return error;
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(err, path, "cannot remove the stale socket");
	return 0;
}

static int bind_failed(const char *path, struct errmsg *err)
{
	const char *slash = strrchr(path, '/');

	if (errno == ENOENT && slash) {
		errmsg_set(err, "socket %s: the folder %.*s does not exist", path,
			   (int)(slash == path ? 1 : slash - path), path);
		return -ENOENT;
	}
	return fail(err, path, "cannot create it");
}

/* Remember a socket that bears its name now. Return: 0 with its O_PATH fd, negative errno */
static int remember(const char *path, int *ret_fd, struct errmsg *err)
{
	struct made *m = calloc(1, sizeof(*m));
	struct stat st;
	int error, fd;

	if (!m)
		return fail(err, path, "cannot remember it");
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error = fail(err, path, "cannot look at it");
		goto close;
	}
	/* In a folder that others may write to, another thing can have got the name meanwhile. */
	if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid()) {
		errmsg_set(err, "socket %s: somebody else took the name", path);
		error = -EEXIST;
		goto close;
	}
	memcpy(m->path, path, strlen(path) + 1);
	m->device = st.st_dev;
	m->inode = st.st_ino;
	list_push_back(&made_sockets, &m->node);
	*ret_fd = fd;
	return 0;
close:
	if (fd >= 0)
		close(fd);
	free(m);
	return error;
}

static void forget(struct made *m)
{
	struct stat st;

	if (lstat(m->path, &st) == 0 && st.st_dev == m->device && st.st_ino == m->inode)
		unlink(m->path);
	list_remove(&m->node);
	free(m);
}

static int bind_and_listen(int fd, const struct opener_request *q, struct errmsg *err)
{
	struct sockaddr_un a = address_of(q->path);
	int name = -1;
	int error;

	if (fchmod(fd, q->mode) < 0)
		return fail(err, q->path, "cannot set its permission bits");
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return bind_failed(q->path, err);
	error = remember(q->path, &name, err);
	if (error)
		return error;
	if ((q->uid != -1 || q->gid != -1) &&
	    fchownat(name, "", (uid_t)q->uid, (gid_t)q->gid, AT_EMPTY_PATH) < 0)
		error = fail(err, q->path, "cannot give it to that user or group");
	else if (listen(fd, OPENER_BACKLOG) < 0)
		error = fail(err, q->path, "cannot listen");
	close(name);
	if (error)
		forget(list_entry(made_sockets.prev, struct made, node));
	return error;
}

int opener_do_listen(const struct opener_request *q, int *ret_fd, struct errmsg *err)
{
	int lock = lock_folder(q->path);
	int fd = -1;
	int error = clear_name(q->path, err);

	if (error)
		goto unlock;
	fd = new_socket();
	if (fd < 0) {
		error = fail(err, q->path, "cannot make a socket");
		goto unlock;
	}
	error = bind_and_listen(fd, q, err);
	if (error)
		close(fd);
	else
		*ret_fd = fd;
unlock:
	if (lock >= 0)
		close(lock);
	return error;
}

int opener_do_connect(const struct opener_request *q, int *ret_fd, struct errmsg *err)
{
	struct sockaddr_un a = address_of(q->path);
	int error;
	int fd = new_socket();

	if (fd < 0)
		return fail(err, q->path, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		error = fail(err, q->path, "cannot connect");
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int opener_do_unlink(const struct opener_request *q, struct errmsg *err)
{
	list_for_each_safe (node, &made_sockets) {
		struct made *m = list_entry(node, struct made, node);

		if (!strcmp(m->path, q->path)) {
			forget(m);
			return 0;
		}
	}
	errmsg_set(err, "socket %s: was not made by this switch", q->path);
	return -ENOENT;
}

void opener_unlink_all(void)
{
	list_for_each_safe (node, &made_sockets)
		forget(list_entry(node, struct made, node));
}
