/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests about rings: when one starts, when it stops, and what is kept in between.
 *
 * Theory of operation
 *
 * A ring shall run from SET_VRING_KICK until GET_VRING_BASE or a reset (kicked). It does run
 * (started) while, besides, its size and addresses are known, features are negotiated and the
 * addresses lie in guest memory as it is now. Whatever changes one of these stops the ring first,
 * keeps where it stood (base) and starts it again where it can: so a change of the memory table
 * goes by without loss. Started and enabled are independent: the owner is told of both.
 *
 * A ring that its guest broke stays stopped until GET_VRING_BASE, a reset or a new connection.
 *
 * Eventfds come from a stranger: what is no eventfd is refused, and it is only ever written by the
 * owner's means, which nobody can block.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "vhost/device.h"

static void fd_replace(int *fd, int other)
{
	if (*fd >= 0)
		close(*fd);
	*fd = other;
}

/* Parts of a ring that shared memory does not hold: a device starts with them. */
static void ring_forget(struct vhost_ring *r)
{
	fd_replace(&r->kick_fd, -1);
	fd_replace(&r->call_fd, -1);
	r->kicked = false;
	r->broken = NULL;
}

int vhost_rings_init(struct vhost_device *d)
{
	d->rings = calloc(d->ring_count, sizeof(*d->rings));
	if (!d->rings)
		return -ENOMEM;
	for (unsigned i = 0; i < d->ring_count; i++)
		d->rings[i] = (struct vhost_ring){.kick_fd = -1, .call_fd = -1, .err_fd = -1};
	return 0;
}

void vhost_rings_fini(struct vhost_device *d)
{
	for (unsigned i = 0; i < d->ring_count; i++) {
		struct vhost_ring *r = &d->rings[i];

		ASSERT(!r->started);
		ring_forget(r);
		fd_replace(&r->err_fd, -1);
		*r = (struct vhost_ring){.kick_fd = -1, .call_fd = -1, .err_fd = -1};
	}
}

/* Start and stop */

/* @bytes at user address @address, aligned; NULL: not in one piece of guest memory. */
static void *translate(const struct vhost_device *d, uint64_t address, uint64_t bytes,
		       uint64_t alignment)
{
	void *host = mem_user_to_host(d->mem, address, bytes);

	return (address | (uintptr_t)host) & (alignment - 1) ? NULL : host;
}

/* Return: NULL, or what is wrong with the addresses */
static const char *ring_translate(const struct vhost_device *d,
				  const struct vhost_ring_addresses *a, uint32_t size,
				  struct virtio_ring_config *config)
{
	config->desc = translate(d, a->desc, 16ull * size, 16);
	config->avail = translate(d, a->avail, 6 + 2ull * size, 2);
	config->used = translate(d, a->used, 6 + 8ull * size, 4);
	if (!config->desc)
		return "its descriptors are not in guest memory, or not aligned";
	if (!config->avail)
		return "its available ring is not in guest memory, or not aligned";
	if (!config->used)
		return "its used ring is not in guest memory, or not aligned";
	return NULL;
}

/* Where to go on. A front-end whose back-end died tells a base that it cannot know: the last one
 * that it was told, or 0. Everything below the used index was given back; a base that is behind it,
 * or so far ahead that no ring holds as much, is wrong, and so is any other one with IN_ORDER. */
static uint16_t resume_at(struct vhost_device *d, unsigned index,
			  const struct virtio_ring_config *config)
{
	struct vhost_ring *r = &d->rings[index];
	uint16_t used = mem_load16(&config->used->index);
	uint16_t avail = mem_load16(&config->avail->index);

	if (r->base_ours || r->base == used)
		return r->base;
	if (!(d->features & VIRTIO_IN_ORDER) && (uint16_t)(r->base - used) <= r->size &&
	    (uint16_t)(avail - r->base) <= r->size)
		return r->base;
	vhost_log(d, LOG_LEVEL_INFO, "ring %u resumes at %u, where it was left, not at %u", index,
		  used, r->base);
	return used;
}

static bool can_start(const struct vhost_device *d, const struct vhost_ring *r)
{
	return r->kicked && !r->started && !r->broken && r->size && r->addressed && d->mem &&
	       d->features_told;
}

/* Start ring @index if it shall run and can. Return: VHOST_REFUSED when only now it shows that
 * it cannot */
static enum vhost_verdict ring_start(struct vhost_device *d, unsigned index)
{
	struct vhost_ring *r = &d->rings[index];
	struct vhost_ring_info info = {
		.config = {.size = r->size,
			   .base = r->base,
			   .features = d->features,
			   .mem = d->mem},
		.kick_fd = r->kick_fd,
		.call_fd = r->call_fd,
	};
	const char *wrong;
	int error;

	if (!can_start(d, r))
		return VHOST_DONE;
	wrong = ring_translate(d, &r->addresses, r->size, &info.config);
	if (wrong)
		return vhost_refuse(d, "ring %u cannot start: %s", index, wrong);
	info.config.base = resume_at(d, index, &info.config);
	if (!r->enable_told)
		r->enabled = !(d->features & VIRTIO_PROTOCOL_FEATURES);
	error = d->config.ops->ring_start(d->config.ctx, index, &info);
	if (error)
		return vhost_refuse(d, "ring %u cannot start: %s", index, strerror(-error));
	r->started = true;
	d->config.ops->ring_enable(d->config.ctx, index, r->enabled);
	return VHOST_DONE;
}

static void ring_stop(struct vhost_device *d, unsigned index, bool peer_gone)
{
	struct vhost_ring *r = &d->rings[index];

	if (!r->started)
		return;
	r->base = d->config.ops->ring_stop(d->config.ctx, index, peer_gone);
	r->base_ours = true;
	r->started = false;
}

void vhost_rings_stop(struct vhost_device *d, bool peer_gone)
{
	for (unsigned i = 0; i < d->ring_count; i++)
		ring_stop(d, i, peer_gone);
}

void vhost_rings_start(struct vhost_device *d)
{
	for (unsigned i = 0; i < d->ring_count; i++)
		ring_start(d, i); /* one that cannot was told about, and waits */
}

void vhost_rings_reset(struct vhost_device *d, bool keep_base)
{
	for (unsigned i = 0; i < d->ring_count; i++) {
		struct vhost_ring *r = &d->rings[i];

		ring_stop(d, i, false);
		ring_forget(r);
		r->addressed = false;
		r->size = 0;
		if (!keep_base) {
			r->base = 0;
			r->base_ours = false;
		}
		r->enabled = false;
		r->enable_told = false;
	}
}

void vhost_device_broken(struct vhost_device *d, unsigned ring_index, const char *why)
{
	struct vhost_ring *r = &d->rings[ring_index];

	ASSERT(ring_index < d->ring_count);
	if (r->broken)
		return;
	ring_stop(d, ring_index, false);
	r->broken = why;
	d->counters.broken++;
	vhost_log(d, LOG_LEVEL_ERROR, "ring %u broken: %s", ring_index, why);
	if (r->err_fd >= 0)
		d->config.ops->signal(d->config.ctx, r->err_fd);
	d->config.ops->broken(d->config.ctx, ring_index, why);
}

/* A change that a running ring cannot take. Who is told of it keeps its ring; who is not would go
 * on with other values than ours. */
static enum vhost_verdict refuse_started(struct vhost_device *d, const struct vhost_message *m,
					 unsigned index)
{
	if (!(m->header.flags & VHOST_FLAG_NEED_REPLY) ||
	    !(d->protocol_features & VHOST_PROTOCOL_REPLY_ACK))
		vhost_device_broken(d, index, "it was changed while it ran");
	return vhost_refuse(d, "a change of ring %u while it runs", index);
}

static unsigned state_index(const struct vhost_device *d, const struct vhost_message *m)
{
	ASSERT(m->payload.state.index < d->ring_count);
	return (unsigned)mem_clamp(m->payload.state.index, d->ring_count);
}

static unsigned bits_index(const struct vhost_device *d, const struct vhost_message *m)
{
	unsigned index = m->payload.u64 & VHOST_RING_INDEX_MASK;

	ASSERT(index < d->ring_count);
	return (unsigned)mem_clamp(index, d->ring_count);
}

/* Requests */

enum vhost_verdict vhost_set_vring_num(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = state_index(d, m);
	struct vhost_ring *r = &d->rings[index];
	uint32_t size = m->payload.state.value;
	bool packed = d->features & VIRTIO_PACKED;

	if (r->started)
		return refuse_started(d, m, index);
	if (size == 0 || size > VIRTIO_RING_SIZE_MAX || (!packed && (size & (size - 1))))
		return vhost_refuse(d, "ring %u of size %u, expected a power of two up to %u",
				    index, size, VIRTIO_RING_SIZE_MAX);
	r->size = size;
	return ring_start(d, index);
}

enum vhost_verdict vhost_set_vring_addr(struct vhost_device *d, struct vhost_message *m)
{
	const struct vhost_ring_addresses *a = &m->payload.addresses;
	unsigned index = state_index(d, m);
	struct vhost_ring *r = &d->rings[index];
	struct virtio_ring_config config;
	const char *wrong;

	if (r->started) {
		/* At the start of a migration the same comes again with another log address. */
		if (a->desc == r->addresses.desc && a->used == r->addresses.used &&
		    a->avail == r->addresses.avail)
			return VHOST_DONE;
		return refuse_started(d, m, index);
	}
	if ((a->desc & 15) || (a->avail & 1) || (a->used & 3))
		return vhost_refuse(d, "ring %u at addresses that are not aligned", index);
	/* Early, where it can be known: later there may be nobody who waits for an answer. */
	if (d->mem && r->size) {
		wrong = ring_translate(d, a, r->size, &config);
		if (wrong)
			return vhost_refuse(d, "ring %u: %s", index, wrong);
	}
	r->addresses = *a;
	r->addressed = true;
	return ring_start(d, index);
}

enum vhost_verdict vhost_set_vring_base(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = state_index(d, m);
	struct vhost_ring *r = &d->rings[index];

	if (r->started)
		return refuse_started(d, m, index);
	if (m->payload.state.value > UINT16_MAX)
		return vhost_refuse(d, "ring %u with base %u, expected at most 65535", index,
				    m->payload.state.value);
	if (r->base != m->payload.state.value)
		r->base_ours = false;
	r->base = (uint16_t)m->payload.state.value;
	return VHOST_DONE;
}

/* The front-end waits for the answer, without a bound: it comes after the drain, also for a ring
 * that never ran. Nothing is stored to its memory afterwards. */
enum vhost_verdict vhost_get_vring_base(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = state_index(d, m);
	struct vhost_ring *r = &d->rings[index];
	struct vhost_ring_state state = {.index = index};

	ring_stop(d, index, false);
	ring_forget(r);
	state.value = r->base;
	if (vhost_reply(d, m, &state, sizeof(state)))
		return vhost_violation(d, "it does not read our replies");
	return VHOST_DONE;
}

static bool is_eventfd(int fd)
{
	char path[40], target[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

/* Take the eventfd of @m; -1 when it says that there is none. Return: false: no eventfd came */
static bool take_eventfd(struct vhost_message *m, int *ret_fd)
{
	int flags;

	if (m->payload.u64 & VHOST_RING_NO_FD) {
		*ret_fd = -1;
		return true;
	}
	if (!is_eventfd(m->fds[0]))
		return false;
	flags = fcntl(m->fds[0], F_GETFL);
	if (flags < 0 || fcntl(m->fds[0], F_SETFL, flags | O_NONBLOCK) < 0)
		return false;
	*ret_fd = vhost_message_take_fd(m, 0);
	return true;
}

static enum vhost_verdict refuse_fd(struct vhost_device *d, unsigned index)
{
	return vhost_refuse(d, "ring %u: the file descriptor is no eventfd", index);
}

enum vhost_verdict vhost_set_vring_kick(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = bits_index(d, m);
	struct vhost_ring *r = &d->rings[index];
	int fd;

	if (!take_eventfd(m, &fd))
		return refuse_fd(d, index);
	ring_stop(d, index, false); /* its worker waits for the old one */
	fd_replace(&r->kick_fd, fd);
	r->kicked = true;
	return ring_start(d, index);
}

enum vhost_verdict vhost_set_vring_call(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = bits_index(d, m);
	struct vhost_ring *r = &d->rings[index];
	int fd;

	if (!take_eventfd(m, &fd))
		return refuse_fd(d, index);
	if (r->started)
		d->config.ops->ring_call(d->config.ctx, index, fd);
	fd_replace(&r->call_fd, fd);
	return VHOST_DONE;
}

enum vhost_verdict vhost_set_vring_err(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = bits_index(d, m);
	int fd;

	if (!take_eventfd(m, &fd))
		return refuse_fd(d, index);
	fd_replace(&d->rings[index].err_fd, fd);
	return VHOST_DONE;
}

enum vhost_verdict vhost_set_vring_enable(struct vhost_device *d, struct vhost_message *m)
{
	unsigned index = state_index(d, m);
	struct vhost_ring *r = &d->rings[index];

	if (m->payload.state.value > 1)
		return vhost_refuse(d, "ring %u enabled by %u, expected 0 or 1", index,
				    m->payload.state.value);
	r->enable_told = true;
	r->enabled = m->payload.state.value;
	if (r->started)
		d->config.ops->ring_enable(d->config.ctx, index, r->enabled);
	return VHOST_DONE;
}
