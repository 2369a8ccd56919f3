/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of requests: what each must carry, who handles it, whether it is answered.
 *
 * Everything that can be checked without knowing a request is checked here, for all of them: size,
 * file descriptors, ring index. A request that carries its own reply is never acknowledged beside
 * it; any other one is, when the front-end asks and REPLY_ACK is negotiated.
 */
#include <errno.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/log.h"
#include "vhost/device.h"

#define MEMORY_LATE_US (3 * 1000 * 1000ull)
#define MTU_MIN	       68

enum fd_policy {
	FDS_NONE,
	FDS_ONE,
	FDS_BY_FLAG, /* one, unless the payload says that there is none */
	FDS_TABLE,   /* one for each region */
	FDS_DROPPED, /* closed: deployed front-ends send one that has no meaning */
};

enum ring_index {
	RING_NONE,
	RING_STATE, /* a 32-bit word */
	RING_BITS,  /* the low bits of a 64-bit word */
};

/**
 * struct request - A row of the table
 * @payload_bytes: least size of the payload
 * @replies:       has a reply of its own
 * @handle:        called when all of the above holds
 */
struct request {
	const char *name;
	uint32_t payload_bytes;
	enum fd_policy fds;
	enum ring_index ring;
	bool replies;
	enum vhost_verdict (*handle)(struct vhost_device *d, struct vhost_message *m);
};

int vhost_message_take_fd(struct vhost_message *m, unsigned index)
{
	int fd = index < m->fd_count ? m->fds[index] : -1;

	if (index < m->fd_count)
		m->fds[index] = -1;
	return fd;
}

void vhost_message_close_fds(struct vhost_message *m)
{
	for (unsigned i = 0; i < m->fd_count; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->fd_count = 0;
}

static enum vhost_verdict reply(struct vhost_device *d, const struct vhost_message *m,
				const void *payload, uint32_t payload_bytes)
{
	int error = vhost_reply(d, m, payload, payload_bytes);

	if (error)
		return vhost_violation(d, "it does not read our replies");
	return VHOST_DONE;
}

static enum vhost_verdict reply_u64(struct vhost_device *d, const struct vhost_message *m,
				    uint64_t value)
{
	return reply(d, m, &value, sizeof(value));
}

static enum vhost_verdict get_features(struct vhost_device *d, struct vhost_message *m)
{
	return reply_u64(d, m, d->offered);
}

static bool any_started(const struct vhost_device *d)
{
	for (unsigned i = 0; i < d->ring_count; i++)
		if (d->rings[i].started)
			return true;
	return false;
}

static enum vhost_verdict set_features(struct vhost_device *d, struct vhost_message *m)
{
	uint64_t features = m->payload.u64;

	if (features & ~d->offered)
		return vhost_violation(d, "it acknowledged features 0x%llx that are not offered",
				       (unsigned long long)(features & ~d->offered));
	if (d->features_told && features == d->features)
		return VHOST_DONE; /* once per queue pair, while others run */
	if (any_started(d))
		return vhost_refuse(d, "other features while rings run");
	d->features = features;
	d->features_told = true;
	d->config.ops->features(d->config.ctx, features);
	if (!d->mem) {
		sd_event_source_set_time_relative(d->memory_late, MEMORY_LATE_US);
		sd_event_source_set_enabled(d->memory_late, SD_EVENT_ONESHOT);
	}
	vhost_rings_start(d); /* those that were told everything but this */
	return VHOST_DONE;
}

static enum vhost_verdict get_protocol_features(struct vhost_device *d, struct vhost_message *m)
{
	return reply_u64(d, m, d->protocol_offered);
}

static enum vhost_verdict set_protocol_features(struct vhost_device *d, struct vhost_message *m)
{
	if (m->payload.u64 & ~d->protocol_offered)
		return vhost_violation(
			d, "it acknowledged protocol features 0x%llx that are not offered",
			(unsigned long long)(m->payload.u64 & ~d->protocol_offered));
	d->protocol_features = m->payload.u64;
	return VHOST_DONE;
}

/* SET_OWNER may come again; RESET_OWNER was never clear and is ignored by everybody. */
static enum vhost_verdict ignore(struct vhost_device *d, struct vhost_message *m)
{
	(void)d;
	(void)m;
	return VHOST_DONE;
}

static enum vhost_verdict get_queue_num(struct vhost_device *d, struct vhost_message *m)
{
	return reply_u64(d, m, d->config.pairs_max);
}

static enum vhost_verdict send_rarp(struct vhost_device *d, struct vhost_message *m)
{
	d->config.ops->rarp(d->config.ctx, m->payload.bytes);
	return VHOST_DONE;
}

static enum vhost_verdict net_set_mtu(struct vhost_device *d, struct vhost_message *m)
{
	uint64_t mtu = m->payload.u64;
	uint64_t mtu_max = d->config.mtu ? d->config.mtu : UINT16_MAX;

	if (mtu < MTU_MIN || mtu > mtu_max)
		return vhost_refuse(d, "MTU %llu, expected %u to %llu", (unsigned long long)mtu,
				    MTU_MIN, (unsigned long long)mtu_max);
	d->config.ops->mtu(d->config.ctx, (uint16_t)mtu);
	return VHOST_DONE;
}

/* A range that is not there is answered with an empty reply: the text's way to say no. */
static enum vhost_verdict get_config(struct vhost_device *d, struct vhost_message *m)
{
	struct vhost_net_config all = {
		.status = 1, /* link up */
		.pairs_max = (uint16_t)d->config.pairs_max,
		.mtu = d->config.mtu,
	};
	struct vhost_wire_config *config = &m->payload.config;
	uint32_t header_bytes = sizeof(*config) - sizeof(config->data);

	if (d->config.mac)
		memcpy(all.mac, d->config.mac, sizeof(all.mac));
	if (!(d->protocol_offered & VHOST_PROTOCOL_CONFIG) ||
	    config->bytes > sizeof(config->data) ||
	    config->bytes != m->header.payload_bytes - header_bytes ||
	    config->offset > sizeof(config->data) - config->bytes) {
		vhost_refuse(d, "GET_CONFIG of a range that is not there");
		d->counters.refused++;
		return reply(d, m, NULL, 0);
	}
	memset(config->data, 0, sizeof(config->data));
	if (config->offset < sizeof(all))
		memcpy(config->data, (uint8_t *)&all + config->offset,
		       min_u32(config->bytes, (uint32_t)sizeof(all) - config->offset));
	return reply(d, m, config, header_bytes + config->bytes);
}

/* A device that is reset does not touch guest memory again until it is set up anew. */
static enum vhost_verdict reset_device(struct vhost_device *d, struct vhost_message *m)
{
	(void)m;
	d->status = 0;
	vhost_rings_reset(d, false);
	return VHOST_DONE;
}

static enum vhost_verdict set_status(struct vhost_device *d, struct vhost_message *m)
{
	if (m->payload.u64 > UINT8_MAX)
		return vhost_refuse(d, "device status 0x%llx is wider than a byte",
				    (unsigned long long)m->payload.u64);
	/* QEMU asks where the rings stood after this. */
	if (m->payload.u64 == 0)
		vhost_rings_reset(d, true);
	d->status = (uint8_t)m->payload.u64;
	return VHOST_DONE;
}

static enum vhost_verdict get_status(struct vhost_device *d, struct vhost_message *m)
{
	return reply_u64(d, m, d->status);
}

#define SIZE(member) sizeof(((union vhost_payload *)0)->member)
#define CONFIG_BYTES (SIZE(config) - VHOST_CONFIG_BYTES_MAX)

static const struct request requests[VHOST_REQUEST_COUNT] = {
#define ROW(id, bytes, fds, ring, replies, handle)                                                 \
	[VHOST_##id] = {#id, bytes, FDS_##fds, RING_##ring, replies, handle}
	/* clang-format off */
	ROW(GET_FEATURES,          0,               NONE,    NONE,  true,  get_features),
	ROW(SET_FEATURES,          SIZE(u64),       NONE,    NONE,  false, set_features),
	ROW(SET_OWNER,             0,               NONE,    NONE,  false, ignore),
	ROW(RESET_OWNER,           0,               NONE,    NONE,  false, ignore),
	ROW(SET_MEM_TABLE,         8,               TABLE,   NONE,  false, vhost_set_mem_table),
	ROW(SET_VRING_NUM,         SIZE(state),     NONE,    STATE, false, vhost_set_vring_num),
	ROW(SET_VRING_ADDR,        SIZE(addresses), NONE,    STATE, false, vhost_set_vring_addr),
	ROW(SET_VRING_BASE,        SIZE(state),     NONE,    STATE, false, vhost_set_vring_base),
	ROW(GET_VRING_BASE,        SIZE(state),     NONE,    STATE, true,  vhost_get_vring_base),
	ROW(SET_VRING_KICK,        SIZE(u64),       BY_FLAG, BITS,  false, vhost_set_vring_kick),
	ROW(SET_VRING_CALL,        SIZE(u64),       BY_FLAG, BITS,  false, vhost_set_vring_call),
	ROW(SET_VRING_ERR,         SIZE(u64),       BY_FLAG, BITS,  false, vhost_set_vring_err),
	ROW(GET_PROTOCOL_FEATURES, 0,               NONE,    NONE,  true,  get_protocol_features),
	ROW(SET_PROTOCOL_FEATURES, SIZE(u64),       NONE,    NONE,  false, set_protocol_features),
	ROW(GET_QUEUE_NUM,         0,               NONE,    NONE,  true,  get_queue_num),
	ROW(SET_VRING_ENABLE,      SIZE(state),     NONE,    STATE, false, vhost_set_vring_enable),
	ROW(SEND_RARP,             SIZE(u64),       NONE,    NONE,  false, send_rarp),
	ROW(NET_SET_MTU,           SIZE(u64),       NONE,    NONE,  false, net_set_mtu),
	ROW(GET_CONFIG,            CONFIG_BYTES,    NONE,    NONE,  true,  get_config),
	ROW(RESET_DEVICE,          0,               NONE,    NONE,  false, reset_device),
	ROW(GET_MAX_MEM_SLOTS,     0,               NONE,    NONE,  true,  vhost_get_max_mem_slots),
	ROW(ADD_MEM_REG,           SIZE(one_region), ONE,     NONE,  false, vhost_add_mem_reg),
	ROW(REM_MEM_REG,           SIZE(one_region), DROPPED, NONE,  false, vhost_rem_mem_reg),
	ROW(SET_STATUS,            SIZE(u64),       NONE,    NONE,  false, set_status),
	ROW(GET_STATUS,            0,               NONE,    NONE,  true,  get_status),
/* clang-format on */
#undef ROW
};

static const struct request *request_find(uint32_t id)
{
	if (id >= VHOST_REQUEST_COUNT)
		return NULL;
	id = (uint32_t)mem_clamp(id, VHOST_REQUEST_COUNT);
	return requests[id].name ? &requests[id] : NULL;
}

const char *vhost_request_name(uint32_t request)
{
	const struct request *r = request_find(request);

	return r ? r->name : NULL;
}

static bool fds_fit(const struct request *r, const struct vhost_message *m)
{
	switch (r->fds) {
	case FDS_NONE:
		return m->fd_count == 0;
	case FDS_ONE:
		return m->fd_count == 1;
	case FDS_BY_FLAG:
		return m->fd_count == (m->payload.u64 & VHOST_RING_NO_FD ? 0 : 1);
	case FDS_TABLE:
		/* more regions than fds can come are refused by the handler */
		return m->payload.table.count > VHOST_FDS_MAX ||
		       m->fd_count == m->payload.table.count;
	case FDS_DROPPED:
		break;
	}
	return true;
}

static bool ring_fits(const struct vhost_device *d, const struct request *r,
		      const struct vhost_message *m)
{
	switch (r->ring) {
	case RING_STATE:
		return m->payload.state.index < d->ring_count;
	case RING_BITS:
		return (m->payload.u64 & VHOST_RING_INDEX_MASK) < d->ring_count;
	case RING_NONE:
		break;
	}
	return true;
}

static enum vhost_verdict handle(struct vhost_device *d, const struct request *r,
				 struct vhost_message *m)
{
	if (m->header.payload_bytes < r->payload_bytes)
		return vhost_violation(d, "%s with %u bytes, expected %u", r->name,
				       m->header.payload_bytes, r->payload_bytes);
	if (!fds_fit(r, m))
		return vhost_violation(d, "%s with %u file descriptors", r->name, m->fd_count);
	if (!ring_fits(d, r, m))
		return vhost_refuse(d, "%s of ring %u, there are %u", r->name,
				    r->ring == RING_BITS
					    ? (unsigned)(m->payload.u64 & VHOST_RING_INDEX_MASK)
					    : m->payload.state.index,
				    d->ring_count);
	return r->handle(d, m);
}

enum vhost_verdict vhost_message_handle(struct vhost_device *d, struct vhost_message *m)
{
	const struct request *r = request_find(m->header.request);
	enum vhost_verdict verdict;

	if (r) {
		d->counters.requests[r - requests]++;
		verdict = handle(d, r, m);
	} else {
		d->counters.unknown++;
		verdict = VHOST_REFUSED; /* ignored, when no reply is wanted */
	}
	if (verdict == VHOST_CLOSE)
		return verdict;
	if (r && verdict == VHOST_REFUSED) {
		d->counters.refused++;
		if (r->replies) { /* it waits for a reply that nobody can give */
			d->counters.violations++;
			return VHOST_CLOSE;
		}
	}
	if ((r && r->replies) || !(m->header.flags & VHOST_FLAG_NEED_REPLY) ||
	    !(d->protocol_features & VHOST_PROTOCOL_REPLY_ACK))
		return VHOST_DONE;
	return reply_u64(d, m, verdict == VHOST_REFUSED);
}
