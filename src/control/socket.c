/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: who may connect, how many, and for how long.
 *
 * Theory of operation
 *
 * The socket's mode keeps others out; the peer's uid is looked at beside it. At most
 * CONTROL_CLIENTS_MAX are served; one more takes the place of whoever has been silent longest, if
 * that is more than a while. A tick runs only while somebody waits for a port, has more requests
 * than were served at once, or does not read its answer: after SLOW_NS of that it is dropped.
 */
#include "control/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/client.h"
#include "control/opener.h"

#define TICK_US (20 * 1000)
#define SLOW_NS (5 * NS_PER_S)
#define IDLE_NS (10 * NS_PER_S) /* longest silence that is safe from a newcomer */
#define ACCEPTS 16		/* before others get their turn */

struct control_server {
	struct control *control;
	char path[CONTROL_PATH_BYTES];
	int fd;
	int reserve_fd; /* given up for a moment when no other is left, to refuse a connection */
	uid_t owner;
	sd_event_source *io;
	sd_event_source *tick;
	struct list clients;
	unsigned client_count;
};

int control_default_path(bool make_folder, char path[CONTROL_PATH_BYTES], struct errmsg *err)
{
	const char *base = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	int n;

	if (!base || !*base)
		return errmsg_set(err, "XDG_RUNTIME_DIR is not set: say where the control socket "
				       "is with --control PATH");
	n = snprintf(path, CONTROL_PATH_BYTES, "%s/lastref", base);
	if (n < 0 || n >= CONTROL_PATH_BYTES - (int)strlen("/control.sock")) {
		errmsg_set(err, "XDG_RUNTIME_DIR is too long for a socket: use --control PATH");
		return -ENAMETOOLONG;
	}
	if (make_folder && mkdir(path, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST) {
		int error = -errno;

		errmsg_set(err, "%s: cannot make the folder: %s", path, strerror(errno));
		return error;
	}
	memcpy(path + n, "/control.sock", strlen("/control.sock") + 1);
	return 0;
}

static void drop(struct control_server *s, struct control_client *client)
{
	control_client_free(client);
	s->client_count--;
}

static bool needs_tick(const struct control_client *client)
{
	return client->out || client->waiting || control_client_has_work(client);
}

static void set_tick(struct control_server *s)
{
	bool needed = false;

	list_for_each (node, &s->clients)
		needed |= needs_tick(list_entry(node, struct control_client, node));
	if (needed)
		sd_event_source_set_time_relative(s->tick, TICK_US);
	sd_event_source_set_enabled(s->tick, needed ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_tick(sd_event_source *source, uint64_t us, void *userdata)
{
	struct control_server *s = userdata;
	uint64_t now_ns = clock_now_ns();

	(void)source;
	(void)us;
	list_for_each_safe (node, &s->clients) {
		struct control_client *client = list_entry(node, struct control_client, node);
		bool slow = client->out && now_ns - client->active_ns > SLOW_NS;

		if (slow)
			log_warn("control: a client that does not read its answer is dropped");
		if (slow || (needs_tick(client) && !control_client_poll(client, now_ns)))
			drop(s, client);
	}
	set_tick(s);
	return 0;
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct control_client *client = userdata;
	struct control_server *s = client->control->server;

	(void)source;
	(void)fd;
	if (!control_client_io(client, events))
		drop(s, client);
	set_tick(s);
	return 0;
}

static bool may_connect(const struct control_server *s, int fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		return false;
	return peer.uid == 0 || peer.uid == s->owner || peer.uid == geteuid();
}

/* The client that is silent longest and waits for nothing. */
static struct control_client *idlest(struct control_server *s)
{
	struct control_client *found = NULL;

	list_for_each (node, &s->clients) {
		struct control_client *client = list_entry(node, struct control_client, node);

		if (!needs_tick(client) && (!found || client->active_ns < found->active_ns))
			found = client;
	}
	return found && clock_now_ns() - found->active_ns > IDLE_NS ? found : NULL;
}

static void refuse(int fd, const char *text)
{
	/* When it does not go out, the closed connection says as much. */
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void admit(struct control_server *s, int fd)
{
	struct control_client *client;

	if (!may_connect(s, fd)) {
		refuse(fd, "{\"error\":\"not your switch\",\"kind\":\"refused\"}\n");
		return;
	}
	if (s->client_count == CONTROL_CLIENTS_MAX) {
		client = idlest(s);
		if (!client) {
			refuse(fd, "{\"error\":\"64 clients are connected already\","
				   "\"kind\":\"refused\"}\n");
			return;
		}
		drop(s, client);
	}
	if (control_client_new(s->control, fd, on_client, &client) < 0) {
		close(fd);
		return;
	}
	list_push_back(&s->clients, &client->node);
	s->client_count++;
}

/* Out of fds: the connection would wake us for ever. */
static void accept_and_close(struct control_server *s)
{
	int fd;

	close(s->reserve_fd);
	fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int on_connect(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct control_server *s = userdata;

	(void)source;
	(void)events;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (client >= 0)
			admit(s, client);
		else if (errno == EMFILE || errno == ENFILE)
			accept_and_close(s);
		else
			break;
	}
	return 0;
}

int control_server_new(struct control *c, const char *path, struct control_server **ret_server,
		       struct errmsg *err)
{
	struct control_server *s = calloc(1, sizeof(*s));
	struct errmsg why = {""};
	int error;

	if (!s) {
		errmsg_set(err, "control: no memory");
		return -ENOMEM;
	}
	list_init(&s->clients);
	s->control = c;
	s->owner = c->owner;
	s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->fd = opener_listen(c->env.opener, path, 0600, -1, -1, &why);
	if (s->fd < 0) {
		error = s->fd;
		errmsg_set(err, "control %.350s", why.text);
		goto free_server;
	}
	memcpy(s->path, path, strlen(path) + 1); /* opener_listen() has checked its length */
	error = sd_event_add_io(c->env.loop, &s->io, s->fd, EPOLLIN, on_connect, s);
	if (error >= 0)
		error = sd_event_add_time_relative(c->env.loop, &s->tick, CLOCK_MONOTONIC, TICK_US,
						   1000, on_tick, s);
	if (error >= 0)
		error = sd_event_source_set_enabled(s->tick, SD_EVENT_OFF);
	if (error < 0) {
		errmsg_set(err, "control socket %s: %s", path, strerror(-error));
		goto unlink;
	}
	c->server = s;
	*ret_server = s;
	return 0;
unlink:
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->tick);
	opener_unlink(c->env.opener, path);
	close(s->fd);
free_server:
	close(s->reserve_fd);
	free(s);
	return error;
}

void control_server_free(struct control_server *s)
{
	if (!s)
		return;
	list_for_each_safe (node, &s->clients)
		drop(s, list_entry(node, struct control_client, node));
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->tick);
	opener_unlink(s->control->env.opener, s->path);
	close(s->fd);
	close(s->reserve_fd);
	s->control->server = NULL;
	free(s);
}
