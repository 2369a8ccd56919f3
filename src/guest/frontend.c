/* SPDX-License-Identifier: BSD-2-Clause */
/* A vhost-user front-end: what a VMM says to a switch (QEMU's docs/interop/vhost-user.rst). */
#include "guest/frontend.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/assert.h"

/**
 * DOC: Theory of operation
 *
 * Each function says one thing and waits for its answer, with a time limit; nothing here runs by
 * itself. The order is a VMM's:
 *
 *	frontend_connect() or frontend_listen() + frontend_accept()
 *	frontend_negotiate()
 *	frontend_set_memory()
 *	frontend_ring_setup() for each ring, then frontend_ring_enable()
 *	...traffic...
 *	frontend_ring_stop() for each ring
 *	frontend_disconnect()
 *
 * but nothing forces it: tests say things in the wrong order, twice, or not at all. Whatever these
 * functions would not say can be said with frontend_send_raw() and frontend_send_bytes().
 *
 * Numbers are in host byte order, as the protocol has them.
 */

int frontend_get_u64(struct frontend *f, uint32_t request, uint64_t *ret)
{
	uint64_t value;
	int error = frontend_send_raw(f, request, FRONTEND_VERSION, NULL, 0, NULL, 0);

	if (!error)
		error = frontend_recv_reply(f, request, &value, sizeof(value), NULL, NULL);
	if (!error)
		*ret = value;
	return error;
}

int frontend_send(struct frontend *f, uint32_t request, const void *payload, uint32_t size,
		  const int *fds, unsigned fd_count)
{
	bool ack = f->protocol & FRONTEND_P_REPLY_ACK;
	uint32_t flags = FRONTEND_VERSION | (ack ? FRONTEND_NEED_REPLY : 0);
	uint64_t answer;
	int error;

	error = frontend_send_raw(f, request, flags, payload, size, fds, fd_count);
	if (error || !ack)
		return error;
	error = frontend_recv_reply(f, request, &answer, sizeof(answer), NULL, NULL);
	if (error)
		return error;
	if (answer)
		return frontend_fail(f, -EREMOTEIO, "%s: the back-end refused (%llu)",
				     frontend_request_name(request), (unsigned long long)answer);
	return 0;
}

int frontend_set_u64(struct frontend *f, uint32_t request, uint64_t value)
{
	return frontend_send(f, request, &value, sizeof(value), NULL, 0);
}

static int negotiate_protocol(struct frontend *f, uint64_t wanted)
{
	uint64_t value;
	int error = frontend_get_u64(f, FRONTEND_GET_PROTOCOL_FEATURES, &f->protocol_offered);

	if (error)
		return error;
	wanted &= f->protocol_offered;
	error = frontend_set_u64(f, FRONTEND_SET_PROTOCOL_FEATURES, wanted);
	if (error)
		return error;
	f->protocol = wanted;
	if (wanted & FRONTEND_P_MQ) {
		error = frontend_get_u64(f, FRONTEND_GET_QUEUE_NUM, &value);
		if (error)
			return error;
		f->queue_pairs = (uint32_t)value;
	}
	if (wanted & FRONTEND_P_MEM_SLOTS) {
		error = frontend_get_u64(f, FRONTEND_GET_MAX_MEM_SLOTS, &value);
		if (error)
			return error;
		f->mem_slots = (uint32_t)value;
	}
	return 0;
}

int frontend_negotiate(struct frontend *f, uint64_t features, uint64_t protocol)
{
	int error;

	error = frontend_get_u64(f, FRONTEND_GET_FEATURES, &f->offered);
	if (error)
		return error;
	features &= f->offered;
	if (f->offered & GUEST_F_PROTOCOL) {
		features |= GUEST_F_PROTOCOL;
		error = negotiate_protocol(f, protocol);
		if (error)
			return error;
	}
	error = frontend_send(f, FRONTEND_SET_OWNER, NULL, 0, NULL, 0);
	if (error)
		return error;
	error = frontend_set_status(f, FRONTEND_STATUS_ACKNOWLEDGE | FRONTEND_STATUS_DRIVER);
	if (error)
		return error;
	error = frontend_set_u64(f, FRONTEND_SET_FEATURES, features);
	if (error)
		return error;
	f->features = features;
	return frontend_set_status(f, FRONTEND_STATUS_ACKNOWLEDGE | FRONTEND_STATUS_DRIVER |
					      FRONTEND_STATUS_FEATURES_OK);
}

static struct frontend_region describe(const struct guest_region *r)
{
	return (struct frontend_region){
		.gpa = r->gpa.addr,
		.bytes = r->bytes,
		.uva = r->uva,
		.offset_bytes = r->offset_bytes,
	};
}

int frontend_set_mem_table(struct frontend *f, const struct guest_memory *m)
{
	struct frontend_mem_table table = {.count = m->region_count};
	int fds[FRONTEND_TABLE_MAX];
	size_t size = offsetof(struct frontend_mem_table, regions) +
		      m->region_count * sizeof(table.regions[0]);

	if (m->region_count > FRONTEND_TABLE_MAX)
		return frontend_fail(f, -E2BIG, "%u regions: a memory table takes %d",
				     m->region_count, FRONTEND_TABLE_MAX);
	for (unsigned i = 0; i < m->region_count; i++) {
		table.regions[i] = describe(&m->regions[i]);
		fds[i] = m->regions[i].fd;
	}
	f->memory = m;
	return frontend_send(f, FRONTEND_SET_MEM_TABLE, &table, (uint32_t)size, fds,
			     m->region_count);
}

int frontend_add_region(struct frontend *f, const struct guest_region *r)
{
	struct frontend_mem_reg reg = {.region = describe(r)};

	return frontend_send(f, FRONTEND_ADD_MEM_REG, &reg, sizeof(reg), &r->fd, 1);
}

int frontend_remove_region(struct frontend *f, const struct guest_region *r)
{
	struct frontend_mem_reg reg = {.region = describe(r)};

	return frontend_send(f, FRONTEND_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
}

int frontend_set_memory(struct frontend *f, const struct guest_memory *m)
{
	if (!(f->protocol & FRONTEND_P_MEM_SLOTS))
		return frontend_set_mem_table(f, m);
	if (m->region_count > f->mem_slots)
		return frontend_fail(f, -E2BIG, "%u regions: the back-end takes %u",
				     m->region_count, f->mem_slots);
	f->memory = m;
	for (unsigned i = 0; i < m->region_count; i++) {
		int error = frontend_add_region(f, &m->regions[i]);

		if (error)
			return error;
	}
	return 0;
}

int frontend_ring_address(struct frontend *f, uint32_t index, const struct guest_ring *r)
{
	struct frontend_vring_addr addr = {.index = index};

	if (!f->memory)
		return frontend_fail(f, -EINVAL, "ring %u: no memory was set", index);
	addr.desc = guest_memory_uva(f->memory, r->desc_gpa);
	addr.avail = guest_memory_uva(f->memory, r->avail_gpa);
	addr.used = guest_memory_uva(f->memory, r->used_gpa);
	return frontend_send(f, FRONTEND_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static int send_state(struct frontend *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct frontend_vring_state state = {index, num};

	return frontend_send(f, request, &state, sizeof(state), NULL, 0);
}

static int send_eventfd(struct frontend *f, uint32_t request, uint32_t index, int *fd)
{
	uint64_t payload = index;

	if (*fd < 0) {
		*fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (*fd < 0)
			return frontend_fail(f, -errno, "eventfd: %s", strerror(errno));
	}
	return frontend_send(f, request, &payload, sizeof(payload), fd, 1);
}

int frontend_ring_setup(struct frontend *f, uint32_t index, const struct guest_ring *r,
			uint16_t base)
{
	struct frontend_vring *v = &f->vrings[index];
	int error;

	ASSERT(index < FRONTEND_VRINGS_MAX);
	error = send_state(f, FRONTEND_SET_VRING_NUM, index, r->size);
	if (!error)
		error = send_state(f, FRONTEND_SET_VRING_BASE, index, base);
	if (!error)
		error = frontend_ring_address(f, index, r);
	if (!error)
		error = send_eventfd(f, FRONTEND_SET_VRING_ERR, index, &v->err);
	if (!error)
		error = send_eventfd(f, FRONTEND_SET_VRING_CALL, index, &v->call);
	if (!error)
		error = send_eventfd(f, FRONTEND_SET_VRING_KICK, index, &v->kick);
	return error;
}

int frontend_ring_enable(struct frontend *f, uint32_t index, bool enable)
{
	return send_state(f, FRONTEND_SET_VRING_ENABLE, index, enable);
}

int frontend_ring_stop(struct frontend *f, uint32_t index, uint16_t *ret_base)
{
	struct frontend_vring_state state = {index, 0};
	int error;

	error = frontend_send_raw(f, FRONTEND_GET_VRING_BASE, FRONTEND_VERSION, &state,
				  sizeof(state), NULL, 0);
	if (!error)
		error = frontend_recv_reply(f, FRONTEND_GET_VRING_BASE, &state, sizeof(state), NULL,
					    NULL);
	if (error)
		return error;
	if (state.index != index || state.num > UINT16_MAX)
		return frontend_fail(f, -EPROTO, "GET_VRING_BASE %u: answered ring %u base %u",
				     index, state.index, state.num);
	if (ret_base)
		*ret_base = (uint16_t)state.num;
	return 0;
}

int frontend_set_status(struct frontend *f, uint8_t status)
{
	uint64_t got;
	int error;

	if (!(f->protocol & FRONTEND_P_STATUS))
		return 0;
	error = frontend_set_u64(f, FRONTEND_SET_STATUS, status);
	if (!error)
		error = frontend_get_u64(f, FRONTEND_GET_STATUS, &got);
	if (error)
		return error;
	if (got != status)
		return frontend_fail(f, -EREMOTEIO, "status %#x was set, it is %#llx", status,
				     (unsigned long long)got);
	return 0;
}

int frontend_reset_device(struct frontend *f)
{
	return frontend_send(f, FRONTEND_RESET_DEVICE, NULL, 0, NULL, 0);
}

int frontend_set_mtu(struct frontend *f, uint64_t mtu)
{
	return frontend_set_u64(f, FRONTEND_NET_SET_MTU, mtu);
}

int frontend_send_rarp(struct frontend *f, const uint8_t mac[6])
{
	uint64_t value = 0;

	memcpy(&value, mac, 6);
	return frontend_set_u64(f, FRONTEND_SEND_RARP, value);
}
