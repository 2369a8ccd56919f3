/* SPDX-License-Identifier: BSD-2-Clause */
/* The vm port's link to its front-end: what the vhost-user device tells, and what becomes of it.
 *
 * Theory of operation
 *
 * The device tells of features, rings and their end; the rings' data path is started and stopped
 * here and the port's state follows: connected, running once both rings of a pair run and are
 * enabled, broken from the moment that a guest broke one until that ring starts again.
 *
 * Workers mark a ring broken and leave it alone; a timer that runs only while rings do looks for
 * such marks. It also looks for guest memory that is not shared with us: a valid table, kicks that
 * arrive, and rings that read as zeros for ever.
 *
 * A pair's memory is taken when its first ring starts and kept until the port goes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/opener.h"
#include "port/vm_control.h"
#include "port/vm_pair.h"
#include "switch/bridge.h"

#define POLL_US	      (100 * 1000ull)
#define POLL_SLACK_US (50 * 1000ull)
#define UNSHARED_NS   (3 * NS_PER_S)
#define UNSHARED_LOOK 16 /* descriptors */
#define KICKS_BY_VMM  2

static struct vm_control *control_of(void *ctx)
{
	return ((struct port *)ctx)->impl;
}

static struct vm_pair *pair_of(struct vm_control *c, unsigned ring_index)
{
	return atomic_load_explicit(&c->vm.pairs[ring_index / 2], memory_order_relaxed);
}

static bool is_transmit(unsigned ring_index)
{
	return ring_index % 2; /* in the guest's words */
}

/* State */

static const char *any_broken(const struct vm_control *c, unsigned *ret_index)
{
	for (unsigned i = 0; i < ARRAY_SIZE(c->rings); i++) {
		if (c->rings[i].broken) {
			*ret_index = i;
			return c->rings[i].broken;
		}
	}
	return NULL;
}

static bool any_pair_runs(const struct vm_control *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(c->rings); i += 2)
		if (c->rings[i].running && c->rings[i].enabled && c->rings[i + 1].running &&
		    c->rings[i + 1].enabled)
			return true;
	return false;
}

/* The state of a connected port by its rings. */
static void state_follow(struct port *p)
{
	struct vm_control *c = p->impl;
	enum port_state state = PORT_CONNECTED;
	unsigned index = 0;
	const char *why = any_broken(c, &index);

	if (why)
		state = PORT_BROKEN;
	else if (any_pair_runs(c))
		state = PORT_RUNNING;
	if (why)
		snprintf(p->why, sizeof(p->why), "ring %u: %s", index, why);
	else if (c->note[0] || state == PORT_RUNNING)
		snprintf(p->why, sizeof(p->why), "%s", c->note);
	else
		snprintf(p->why, sizeof(p->why), "no queue pair runs yet");
	if (state == PORT_RUNNING && !c->running_logged) {
		log_info("port %s: running", p->name);
		c->running_logged = true;
	}
	atomic_store(&p->state, state);
}

static void state_waiting(struct port *p, const char *why)
{
	snprintf(p->why, sizeof(p->why), "%s", why);
	atomic_store(&p->state, PORT_WAITING);
}

static uint32_t offloads_of(uint64_t features)
{
	uint32_t offloads = 0;

	if (!(features & VIRTIO_NET_GUEST_CSUM))
		return 0; /* the others build on it: virtio 1.3, 5.1.3.1 */
	offloads |= PORT_CSUM;
	if (features & VIRTIO_NET_GUEST_TSO4)
		offloads |= PORT_TSO4;
	if (features & VIRTIO_NET_GUEST_TSO6)
		offloads |= PORT_TSO6;
	if (features & VIRTIO_NET_GUEST_ECN)
		offloads |= PORT_ECN;
	return offloads;
}

/* What the device tells */

static void on_connected(void *ctx, int pid, int uid)
{
	(void)pid;
	(void)uid;
	control_of(ctx)->running_logged = false;
	state_follow(ctx);
}

static void on_disconnected(void *ctx, const char *why)
{
	struct port *p = ctx;
	struct vm_control *c = p->impl;

	ASSERT(c->rings_running == 0);
	memset(c->rings, 0, sizeof(c->rings));
	c->note[0] = '\0';
	c->vm.features = 0;
	atomic_store(&p->offloads, 0);
	atomic_store(&p->mtu, c->settings.mtu);
	state_waiting(p, why);
}

static void on_features(void *ctx, uint64_t features)
{
	struct port *p = ctx;

	control_of(p)->dial_failed = false; /* somebody who talks */
	control_of(p)->vm.features = features;
	atomic_store(&p->offloads, offloads_of(features));
}

static int pair_get(struct port *p, unsigned ring_index, struct vm_pair **ret_pair)
{
	struct vm_control *c = p->impl;
	struct vm_pair *pair = pair_of(c, ring_index);
	int error;

	if (!pair) {
		error = vm_pair_new(&c->vm, ring_index / 2, &pair);
		if (error)
			return error;
		atomic_store_explicit(&c->vm.pairs[ring_index / 2], pair, memory_order_release);
	}
	*ret_pair = pair;
	return 0;
}

/* Kicks so far, without taking them: nobody reads these eventfds. 0: cannot be known */
static uint64_t kicks_of(const struct vm_ring_state *ring)
{
	char path[48], line[128];
	uint64_t count = 0;
	FILE *info;

	if (ring->kick_fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring->kick_fd);
	info = fopen(path, "re");
	if (!info)
		return 0;
	while (fgets(line, sizeof(line), info))
		if (strncmp(line, "eventfd-count:", 14) == 0)
			count = strtoull(line + 14, NULL, 16);
	fclose(info);
	return count;
}

static int on_ring_start(void *ctx, unsigned index, const struct vhost_ring_info *info)
{
	struct port *p = ctx;
	struct vm_control *c = p->impl;
	struct vm_pair *pair;
	int error = pair_get(p, index, &pair);

	if (!error)
		error = is_transmit(index) ? vm_tx_start(pair, info) : vm_rx_start(pair, info);
	if (error)
		return error;
	c->rings[index] = (struct vm_ring_state){
		.running = true, .config = info->config, .kick_fd = info->kick_fd};
	if (c->rings_running++ == 0) {
		sd_event_source_set_time_relative(c->poll, POLL_US);
		sd_event_source_set_enabled(c->poll, SD_EVENT_ONESHOT);
	}
	if (c->rings[0].running && c->rings[1].running) {
		c->unshared_ns = clock_now_ns() + UNSHARED_NS;
		c->kicks = kicks_of(&c->rings[0]) + kicks_of(&c->rings[1]);
		if (c->kicks < KICKS_BY_VMM)
			c->kicks = KICKS_BY_VMM;
	}
	state_follow(p);
	return 0;
}

static uint16_t on_ring_stop(void *ctx, unsigned index, bool peer_gone)
{
	struct port *p = ctx;
	struct vm_control *c = p->impl;
	struct vm_pair *pair = pair_of(c, index);
	uint16_t next;

	next = is_transmit(index) ? vm_tx_stop(pair, peer_gone) : vm_rx_stop(pair, peer_gone);
	c->rings[index].running = false;
	if (--c->rings_running == 0)
		sd_event_source_set_enabled(c->poll, SD_EVENT_OFF);
	if (index < 2)
		c->unshared_ns = 0;
	state_follow(p);
	return next;
}

static void on_ring_enable(void *ctx, unsigned index, bool enable)
{
	struct port *p = ctx;
	struct vm_control *c = p->impl;
	struct vm_pair *pair = pair_of(c, index);

	if (is_transmit(index))
		vm_tx_enable(pair, enable);
	else
		vm_rx_enable(pair, enable);
	c->rings[index].enabled = enable;
	state_follow(p);
}

static void signal_on_worker(struct worker *w, void *arg)
{
	engine_call_guest(w, *(const int *)arg);
}

/* On a worker: the watchdog frees it from an eventfd that its owner made blocking. */
static void on_signal(void *ctx, int fd)
{
	struct port *p = ctx;

	engine_call(p->env->engine, 0, signal_on_worker, &fd);
}

static void on_ring_call(void *ctx, unsigned index, int call_fd)
{
	struct vm_pair *pair = pair_of(control_of(ctx), index);

	if (is_transmit(index))
		vm_tx_call(pair, call_fd);
	else
		vm_rx_call(pair, call_fd);
	if (call_fd >= 0)
		on_signal(ctx, call_fd);
}

static void on_broken(void *ctx, unsigned index, const char *why)
{
	control_of(ctx)->rings[index].broken = why;
	state_follow(ctx);
}

static void on_note(void *ctx, const char *text)
{
	struct vm_control *c = control_of(ctx);

	snprintf(c->note, sizeof(c->note), "%s", text ? text : "");
	state_follow(ctx);
}

static void on_rarp(void *ctx, const uint8_t mac[6])
{
	struct port *p = ctx;

	bridge_fdb_learn(p->env->bridge, mac, p);
}

static void on_mtu(void *ctx, uint16_t mtu)
{
	atomic_store(&((struct port *)ctx)->mtu, mtu);
}

const struct vhost_device_ops vm_device_ops = {
	.connected = on_connected,
	.disconnected = on_disconnected,
	.features = on_features,
	.ring_start = on_ring_start,
	.ring_stop = on_ring_stop,
	.ring_enable = on_ring_enable,
	.ring_call = on_ring_call,
	.signal = on_signal,
	.broken = on_broken,
	.note = on_note,
	.rarp = on_rarp,
	.mtu = on_mtu,
};

static int dial(void *ctx)
{
	struct port *p = ctx;
	struct vm_control *c = p->impl;
	struct errmsg err = {""};
	int fd = opener_connect(p->env->opener, c->settings.value[VM_KEY_SOCKET], &err);

	if (fd >= 0)
		return fd;
	state_waiting(p, err.text);
	if (!c->dial_failed)
		log_info("port %s: waiting: %s", p->name, err.text);
	c->dial_failed = true;
	return fd;
}

/* The timer */

static void look_for_broken(struct vm_control *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(c->rings); i++) {
		struct vm_pair *pair = c->rings[i].running ? pair_of(c, i) : NULL;
		const char *why;

		if (!pair)
			continue;
		why = atomic_load_explicit(is_transmit(i) ? &pair->tx.ring.broken
							  : &pair->rx.ring.broken,
					   memory_order_acquire);
		if (!why && mem_table_is_broken(c->rings[i].config.mem))
			why = "guest memory was truncated"; /* seen by another ring, or idle */
		if (why)
			vhost_device_broken(c->vm.device, i, why);
	}
}

static bool reads_as_zeros(const struct virtio_ring_config *ring)
{
	if (mem_load16_acquire(&ring->avail->index) || mem_load16(&ring->avail->flags))
		return false;
	for (uint32_t i = 0; i < min_u32(ring->size, UNSHARED_LOOK); i++)
		if (mem_load64(&ring->desc[i].addr))
			return false;
	return true;
}

/* A VMM may kick each ring once by itself, before or behind its start; more come from a driver, and
 * that wrote something to its ring first. */
static void look_for_unshared(struct vm_control *c)
{
	uint64_t kicks;

	if (!c->unshared_ns)
		return;
	if (!reads_as_zeros(&c->rings[0].config) || !reads_as_zeros(&c->rings[1].config)) {
		c->unshared_ns = 0; /* we see what the driver writes: no need to look again */
		return;
	}
	if (clock_now_ns() < c->unshared_ns)
		return;
	kicks = kicks_of(&c->rings[0]) + kicks_of(&c->rings[1]);
	if (kicks > c->kicks) {
		vhost_device_note(
			c->vm.device,
			"the guest kicks, but its rings read as zeros: " VHOST_SHARE_CURE);
		c->unshared_ns = 0;
	} else {
		c->unshared_ns = clock_now_ns() + NS_PER_S; /* an idle guest: seldom is enough */
	}
}

static int on_poll(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct port *p = userdata;
	struct vm_control *c = p->impl;

	(void)usec;
	look_for_broken(c);
	look_for_unshared(c);
	if (c->rings_running) {
		sd_event_source_set_time_relative(source, POLL_US);
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return 0;
}

/* Life */

static int listen_fd_open(struct port *p, struct errmsg *err)
{
	const struct vm_settings *s = &control_of(p)->settings;

	return opener_listen(p->env->opener, s->value[VM_KEY_SOCKET], s->perm, s->uid, s->gid, err);
}

int vm_link_init(struct port *p, struct errmsg *err)
{
	struct vm_control *c = p->impl;
	const struct vm_settings *s = &c->settings;
	struct vhost_device_config config = {
		.name = p->name,
		.features = s->offered,
		.pairs_max = s->queues,
		.mtu = s->mtu,
		.mac = s->has_mac ? s->mac : NULL,
		.listen_fd = -1,
		.dial = s->client ? dial : NULL,
		.loop = p->env->loop,
		.ops = &vm_device_ops,
		.ctx = p,
	};
	int error;

	error = sd_event_add_time_relative(p->env->loop, &c->poll, CLOCK_MONOTONIC, POLL_US,
					   POLL_SLACK_US, on_poll, p);
	if (error >= 0)
		error = sd_event_source_set_enabled(c->poll, SD_EVENT_OFF);
	if (error < 0) {
		errmsg_set(err, "no timer: %s", strerror(-error));
		return error;
	}
	if (!s->client) {
		config.listen_fd = listen_fd_open(p, err);
		if (config.listen_fd < 0)
			return config.listen_fd;
	}
	state_waiting(p, s->client ? "not connected yet" : "no front-end connected yet");
	error = vhost_device_new(&config, &c->vm.device);
	if (error) {
		if (!s->client)
			opener_unlink(p->env->opener, s->value[VM_KEY_SOCKET]);
		errmsg_set(err, "no vhost-user device: %s", strerror(-error));
	}
	return error;
}

void vm_link_fini(struct port *p)
{
	struct vm_control *c = p->impl;

	if (c->vm.device) {
		vhost_device_free(c->vm.device);
		if (!c->settings.client)
			opener_unlink(p->env->opener, c->settings.value[VM_KEY_SOCKET]);
	}
	sd_event_source_disable_unref(c->poll);
}
