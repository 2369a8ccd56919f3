/* SPDX-License-Identifier: BSD-2-Clause */
/* The tap port: a network interface of the host's kernel. Main thread; tap_io.c moves frames.
 *
 * Theory of operation
 *
 * The opener attaches the queues; each becomes a source of a worker, and every worker gets a way
 * out with an io_uring of its own. When the device is deleted its fds are good for nothing: the
 * first worker that sees it wakes the main thread, which takes everything down again and looks once
 * a second whether an interface of that name is back. A link that is down is not watched: the
 * kernel refuses each frame, which is counted, and takes them again when the link is up.
 */
#include "port/tap.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/opener.h"
#include "port/types.h"
#include "switch/bridge.h"

#define LOOK_AGAIN_US 1000000

enum tap_key { KEY_DEV, KEY_BRIDGE, KEY_QUEUES };

static const struct port_key tap_keys[] = {
	[KEY_DEV] = {.name = "dev",
		     .kind = PORT_KEY_TEXT,
		     .choices = "IFNAME",
		     .flags = PORT_KEY_REQUIRED,
		     .help = "name of the interface; made when there is none"},
	[KEY_BRIDGE] = {.name = "bridge",
			.kind = PORT_KEY_TEXT,
			.choices = "BRIDGE",
			.help = "put it into this bridge of the host"},
	[KEY_QUEUES] = {.name = "queues",
			.kind = PORT_KEY_NUMBER,
			.min = 1,
			.max = TAP_QUEUES_MAX,
			.fallback = "1",
			.help = "queues of the interface"},
	{0},
};

/**
 * struct tap_control - What only the main thread knows of a tap
 * @bridge: "" for none
 * @up:     the device is open and its queues are sources
 * @watch:  of the eventfd by which a worker tells that the device was deleted
 * @retry:  looks for it again
 */
struct tap_control {
	char dev[IFNAMSIZ];
	char bridge[IFNAMSIZ];
	bool up;
	struct sd_event_source *watch;
	struct sd_event_source *retry;
};

/* The kernel may leave to us what every port of the switch takes, or is finished in software. */
static int set_offloads(int fd)
{
	static const unsigned long wanted[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
		TUN_F_CSUM,
		0,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
		if (ioctl(fd, TUNSETOFFLOAD, wanted[i]) == 0)
			return 0;
	return -errno;
}

/* On its worker: only that thread may submit to the ring. */
static void enable_on_worker(struct worker *w, void *arg)
{
	struct tap_out *out = &((struct tap *)arg)->outs[w->index];

	if (out->uring.open && uring_enable(&out->uring) == 0)
		atomic_store(&out->batching, true);
}

static void release_on_worker(struct worker *w, void *arg)
{
	struct tap_out *out = &((struct tap *)arg)->outs[w->index];

	ASSERT(out->frame_count == 0); /* PORT_SYNC: nothing is left over from a turn */
	if (atomic_exchange(&out->batching, false))
		uring_release(&out->uring);
}

/* The queue that a worker writes to: one of those it reads when there is one. */
static unsigned queue_for(const struct tap *tap, unsigned worker_index)
{
	ASSERT(tap->queue_count > 0);
	for (unsigned i = 0; i < tap->queue_count; i++)
		if (tap->queues[i].source.worker->index == worker_index)
			return i;
	return worker_index % tap->queue_count;
}

static void outs_open(struct tap *tap, const int *fds)
{
	struct engine *engine = tap->port->env->engine;
	int err = 0;

	for (unsigned i = 0; i < tap->worker_count; i++) {
		struct tap_out *out = &tap->outs[i];

		out->queue_index = queue_for(tap, i);
		err = uring_open(&out->uring, fds, tap->queue_count);
		if (!err)
			engine_call(engine, i, enable_on_worker, tap);
	}
	if (err)
		log_info("port %s: no io_uring (%s): frames are written one by one",
			 tap->port->name, strerror(-err));
}

/* Nobody uses the device any more, and it is closed. The port's state is not RUNNING. */
static void device_close(struct tap *tap)
{
	struct engine *engine = tap->port->env->engine;

	if (!tap->control->up)
		return;
	tap->control->up = false;
	for (unsigned i = 0; i < tap->queue_count; i++)
		engine_detach(engine, &tap->queues[i].source);
	engine_quiesce(engine);
	for (unsigned i = 0; i < tap->worker_count; i++) {
		engine_call(engine, i, release_on_worker, tap);
		uring_close(&tap->outs[i].uring);
	}
	for (unsigned i = 0; i < tap->queue_count; i++) {
		struct tap_queue *q = &tap->queues[i];
		struct ifreq ifr = {.ifr_flags = IFF_DETACH_QUEUE};

		/* The kernel shall steer nothing to it from now on, whoever still has the file. */
		if (ioctl(q->fd, TUNSETQUEUE, &ifr) < 0 && errno != EINVAL)
			log_debug("port %s: queue %u: %s", tap->port->name, i, strerror(errno));
		close(q->fd);
		q->fd = -1;
		q->source.fds[0] = -1;
	}
}

static void state_set(struct tap *tap, enum port_state state, const char *why)
{
	snprintf(tap->port->why, sizeof(tap->port->why), "%.*s", (int)sizeof(tap->port->why) - 1,
		 why);
	atomic_store(&tap->port->state, state);
}

static int on_look_again(sd_event_source *s, uint64_t now_us, void *arg);

/* Attach to the device and let frames flow. Return: 0, negative errno with @err set */
static int device_open(struct tap *tap, struct errmsg *err)
{
	struct tap_control *c = tap->control;
	const struct port_env *env = tap->port->env;
	int fds[TAP_QUEUES_MAX];
	int ret = opener_tap(env->opener, c->dev, tap->queue_count, c->bridge[0] ? c->bridge : NULL,
			     fds, err);

	if (ret)
		return ret;
	ret = set_offloads(fds[0]);
	if (ret) {
		for (unsigned i = 0; i < tap->queue_count; i++)
			close(fds[i]);
		errmsg_set(err, "tap %s: %s", c->dev, strerror(-ret));
		return ret;
	}
	atomic_store(&tap->gone, false);
	for (unsigned i = 0; i < tap->queue_count; i++) {
		tap->queues[i].fd = fds[i];
		tap->queues[i].source.fds[0] = fds[i];
		engine_attach(env->engine, &tap->queues[i].source);
	}
	outs_open(tap, fds);
	c->up = true;
	state_set(tap, PORT_RUNNING, "");
	return 0;
}

static int on_device_gone(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct tap *tap = arg;
	char why[sizeof(tap->port->why)];
	uint64_t now_us, value;

	(void)s;
	(void)events;
	if (read(fd, &value, sizeof(value)) < 0 || !tap->control->up)
		return 0;
	snprintf(why, sizeof(why), "interface %s was deleted; waiting for one of that name",
		 tap->control->dev);
	log_warn("port %s: %s", tap->port->name, why);
	state_set(tap, PORT_WAITING, why);
	device_close(tap);
	bridge_fdb_flush(tap->port->env->bridge, tap->port);
	sd_event_now(tap->port->env->loop, CLOCK_MONOTONIC, &now_us);
	sd_event_add_time(tap->port->env->loop, &tap->control->retry, CLOCK_MONOTONIC,
			  now_us + LOOK_AGAIN_US, 0, on_look_again, tap);
	return 0;
}

static int on_look_again(sd_event_source *s, uint64_t now_us, void *arg)
{
	struct tap *tap = arg;
	struct errmsg err;

	if (if_nametoindex(tap->control->dev) && device_open(tap, &err) == 0) {
		log_info("port %s: interface %s is back", tap->port->name, tap->control->dev);
		tap->control->retry = sd_event_source_disable_unref(s);
		return 0;
	}
	if (if_nametoindex(tap->control->dev))
		state_set(tap, PORT_WAITING, err.text);
	sd_event_source_set_time(s, now_us + LOOK_AGAIN_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static void tap_free(struct tap *tap)
{
	for (unsigned i = 0; i < TAP_QUEUES_MAX; i++)
		free(tap->queues[i].rest);
	if (tap->control) {
		sd_event_source_disable_unref(tap->control->watch);
		sd_event_source_disable_unref(tap->control->retry);
	}
	if (tap->gone_fd >= 0)
		close(tap->gone_fd);
	free(tap->control);
	free(tap->outs);
	free(tap);
}

static int name_set(char *to, const char *name, const char *key, struct errmsg *err)
{
	if (strlen(name) >= IFNAMSIZ || !name[0])
		return errmsg_set(err, "%s '%s': expected an interface's name of 1 to %d letters",
				  key, name, IFNAMSIZ - 1);
	memcpy(to, name, strlen(name) + 1);
	return 0;
}

static struct tap *tap_new(struct port *p, unsigned queue_count)
{
	struct tap *tap = calloc(1, sizeof(*tap));

	if (!tap)
		return NULL;
	tap->port = p;
	tap->gone_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	tap->queue_count = queue_count;
	tap->worker_count = engine_worker_count(p->env->engine);
	tap->control = calloc(1, sizeof(*tap->control));
	tap->outs = aligned_alloc(CACHE_LINE_BYTES, tap->worker_count * sizeof(*tap->outs));
	if (!tap->control || !tap->outs || tap->gone_fd < 0)
		goto fail;
	memset(tap->outs, 0, tap->worker_count * sizeof(*tap->outs));
	for (unsigned i = 0; i < queue_count; i++) {
		struct tap_queue *q = &tap->queues[i];

		q->tap = tap;
		q->fd = -1;
		q->source = (struct source){
			.ops = &tap_source_ops, .port = p, .queue_index = i, .fds = {-1, -1}};
		q->rest = aligned_alloc(CACHE_LINE_BYTES, (size_t)FRAME_BURST * TAP_REST_BYTES);
		if (!q->rest)
			goto fail;
	}
	return tap;
fail:
	tap_free(tap);
	return NULL;
}

static int watch_add(struct tap *tap, struct errmsg *err)
{
	struct sd_event *loop = tap->port->env->loop;
	int ret;

	if (!loop) /* a test that looks itself */
		return 0;
	ret = sd_event_add_io(loop, &tap->control->watch, tap->gone_fd, EPOLLIN, on_device_gone,
			      tap);
	if (ret < 0)
		errmsg_set(err, "cannot watch the device: %s", strerror(-ret));
	return ret < 0 ? ret : 0;
}

static int tap_create(struct port *p, const struct port_config *config, struct errmsg *err)
{
	const char *queues = config->value[KEY_QUEUES];
	struct tap *tap = tap_new(p, queues ? (unsigned)strtoul(queues, NULL, 10) : 1);
	int ret;

	if (!tap) {
		errmsg_set(err, "no memory");
		return -ENOMEM;
	}
	p->impl = tap;
	ret = name_set(tap->control->dev, config->value[KEY_DEV], "dev", err);
	if (!ret && config->value[KEY_BRIDGE])
		ret = name_set(tap->control->bridge, config->value[KEY_BRIDGE], "bridge", err);
	if (!ret)
		ret = watch_add(tap, err);
	if (!ret) {
		atomic_store(&p->offloads, PORT_CSUM | PORT_TSO4 | PORT_TSO6 | PORT_ECN);
		ret = device_open(tap, err);
	}
	if (ret) {
		tap_free(tap);
		p->impl = NULL;
	}
	return ret;
}

static void tap_destroy(struct port *p)
{
	struct tap *tap = p->impl;

	atomic_store(&p->state, PORT_WAITING);
	device_close(tap);
	tap_free(tap);
}

/* What the kernel says of the interface now. */
static void link_show(const struct tap *tap, json_t *into)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	const char *link = "away"; /* deleted, or moved to another namespace */

	if (fd < 0)
		return;
	memcpy(ifr.ifr_name, tap->control->dev, IFNAMSIZ);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) == 0)
		link = ifr.ifr_flags & IFF_UP ? "up" : "down";
	json_object_set_new(into, "link", json_string(link));
	if (ioctl(fd, SIOCGIFMTU, &ifr) == 0)
		json_object_set_new(into, "link_mtu", json_integer(ifr.ifr_mtu));
	close(fd);
}

static void tap_show(struct port *p, json_t *into)
{
	struct tap *tap = p->impl;
	uint64_t batches = 0, batched = 0, singles = 0;
	json_t *workers = json_array();
	bool batching = tap->control->up;

	for (unsigned i = 0; i < tap->worker_count; i++) {
		const struct tap_out *out = &tap->outs[i];

		batching &= atomic_load(&out->batching);
		batches += counter_get(&out->batches);
		batched += counter_get(&out->batched);
		singles += counter_get(&out->singles);
	}
	for (unsigned i = 0; tap->control->up && i < tap->queue_count; i++)
		json_array_append_new(workers, json_integer(tap->queues[i].source.worker->index));
	json_object_set_new(into, "dev", json_string(tap->control->dev));
	link_show(tap, into);
	json_object_set_new(into, "queue_workers", workers);
	json_object_set_new(into, "io_uring", json_boolean(batching));
	json_object_set_new(into, "write_batches", json_integer((json_int_t)batches));
	json_object_set_new(into, "write_batched", json_integer((json_int_t)batched));
	json_object_set_new(into, "write_singles", json_integer((json_int_t)singles));
}

static void tap_show_config(struct port *p, char *buffer, size_t buffer_bytes)
{
	const struct tap *tap = p->impl;
	const struct tap_control *c = tap->control;

	snprintf(buffer, buffer_bytes, "tap dev %s%s%s queues %u", c->dev,
		 c->bridge[0] ? " bridge " : "", c->bridge, tap->queue_count);
}

const struct port_ops port_tap_ops = {
	.type = "tap",
	.help = "an interface of the host's kernel",
	.caps = PORT_SYNC | PORT_SG,
	.keys = tap_keys,
	.create = tap_create,
	.destroy = tap_destroy,
	.show = tap_show,
	.show_config = tap_show_config,
	.send = tap_send,
	.publish = tap_publish,
};
