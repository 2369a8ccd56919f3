/* SPDX-License-Identifier: BSD-2-Clause */
/* The light measuring client: two guests of our own making that cost as little as can be. */

/*
 * Theory of operation
 *
 * A DPDK guest spends 60 to 180 ns on a 64-byte frame, whatever the switch does: such a client
 * measures itself. This one keeps out of the way. Its descriptors and its available rings are
 * written once: slot i is descriptor i is buffer i, for ever, which VIRTIO_F_IN_ORDER allows. To
 * send is to write one payload line and, per batch, the available index; to reclaim is to read the
 * used index. To receive is to read a used entry, the virtio-net header and the first payload
 * line. (With verify=1 it writes and compares all bytes, as the other client does.)
 *
 * A peer that does not offer IN_ORDER must be seen to complete in order all the same: used ids
 * are compared with what is expected, and anything else ends the program with a message.
 *
 * Each guest's memory is one region of a memfd of its own:
 *
 *   [rx ring][tx ring][rx buffers][tx buffers]     guest physical address = offset
 *
 * The header lies at the end of one line and the frame starts on the next, as in DPDK's mbufs;
 * a buffer is an odd number of lines, so that buffers spread over all sets of a cache.
 *
 * usage: bench-light [--huge] [--cpu N] [--max-size BYTES] [--first] [--idle] SOCKET SOCKET ...
 * --first: connect as soon as the sockets exist, send until a frame arrives, say when that was
 * --idle: guests that only exist: connect to any number of sockets, start rings, wait
 */

#include "load.h"

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define RING_SIZE    1024U /* slots of every ring */
#define RING_MASK    (RING_SIZE - 1)
#define RING_BYTES   ((size_t)64 * 1024) /* one ring's three parts, with room between them */
#define AVAIL_OFFSET ((size_t)20 * 1024)
#define USED_OFFSET  ((size_t)32 * 1024)
#define FRAME_OFFSET 64U /* of a frame in its buffer: the header ends there */
#define HEADER_BYTES 12U
#define PORTS_MAX    8
#define HUGE_BYTES   ((size_t)2 * 1024 * 1024)
#define HANDSHAKE_MS 5000
#define PACE_NS	     400U /* about ten frames of 64 bytes */

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

/* vhost-user: requests, flags and features that are used here. */
enum {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_SET_VRING_ENABLE = 18,
};

#define VU_VERSION	    1U
#define VU_FLAG_REPLY	    4U
#define VU_FLAG_NEED_REPLY  8U
#define VU_F_PROTOCOL	    30
#define VU_PROTOCOL_F_MQ    0
#define VU_PROTOCOL_F_REPLY 3
#define VU_HEADER_BYTES	    12U

struct vu_message {
	uint32_t request;
	uint32_t flags;
	uint32_t bytes;
	union {
		uint64_t u64;
		struct {
			uint32_t index;
			uint32_t num;
		} state;
		struct {
			uint32_t index;
			uint32_t flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t count;
			uint32_t padding;
			uint64_t gpa, bytes, uva, mmap_offset;
		} memory;
	};
} __attribute__((packed));

struct ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint8_t *buffers;
	uint16_t avail_index; /* what is or will be published */
	uint16_t used_index;  /* up to where completions were taken */
	uint16_t used_seen;   /* the device's used index when last read */
	uint64_t look_tsc;    /* not to be read again before this time */
	int kick_fd;
	int call_fd;
};

struct port {
	const char *path;
	int fd;
	int memfd;
	uint8_t *memory;
	size_t memory_bytes;
	bool in_order;
	bool reply_ack;
	struct ring rx, tx;
};

static struct port ports[PORTS_MAX];
static unsigned int port_count;
static uint32_t stride_bytes;
static uint64_t pace_tsc;

/* ---- the driver ------------------------------------------------------------------------------ */

static void __attribute__((noreturn, cold))
out_of_order(const struct port *p, uint32_t id, uint32_t want)
{
	load_die("bench-light: %s: completed descriptor %u where %u was next", p->path, id, want);
}

/* Publish the available index; kick a device that sleeps. */
static inline void publish(struct ring *ring)
{
	__atomic_store_n(&ring->avail->idx, ring->avail_index, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
		eventfd_write(ring->kick_fd, 1);
}

/*
 * The device's used index, read at most every PACE_NS under load: to look at a line that the
 * device is about to write costs the device more than it tells us. At one frame in flight
 * (@eager) latency is what is measured, and it is read every time.
 */
static inline uint16_t used_now(struct ring *ring, bool eager)
{
	if (!eager) {
		uint64_t now = load_tsc();

		if (now < ring->look_tsc)
			return ring->used_seen;
		ring->look_tsc = now + pace_tsc;
	}
	ring->used_seen = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
	return ring->used_seen;
}

/* Take back what was sent; slots free afterwards. */
static inline uint32_t reclaim(struct port *p, bool eager)
{
	struct ring *ring = &p->tx;
	uint16_t used = used_now(ring, eager);

	if (!p->in_order) {
		for (; ring->used_index != used; ring->used_index++) {
			uint32_t id = ring->used->ring[ring->used_index & RING_MASK].id;

			if (id != (ring->used_index & RING_MASK))
				out_of_order(p, id, ring->used_index & RING_MASK);
		}
	}
	ring->used_index = used;
	return RING_SIZE - (uint16_t)(ring->avail_index - used);
}

static inline unsigned int drv_send(unsigned int port, struct load_flow *flow, unsigned int want)
{
	struct port *p = &ports[port];
	struct ring *ring = &p->tx;
	uint32_t room = RING_SIZE - (uint16_t)(ring->avail_index - ring->used_index);

	if (room < want)
		room = reclaim(p, want == 1);
	if (room < want)
		want = room;
	if (want == 0)
		return 0;
	for (unsigned int i = 0; i < want; i++) {
		uint32_t slot = (ring->avail_index + i) & RING_MASK;

		load_build(flow, flow->next_seq + i,
			   ring->buffers + (size_t)slot * stride_bytes + FRAME_OFFSET);
		/* Lengths change only between windows: a line that is written only then. */
		if (ring->desc[slot].len != flow->frame_bytes + HEADER_BYTES)
			ring->desc[slot].len = flow->frame_bytes + HEADER_BYTES;
	}
	ring->avail_index = (uint16_t)(ring->avail_index + want);
	flow->next_seq += want;
	publish(ring);
	return want;
}

static void drv_flush(unsigned int port)
{
	(void)port; /* nothing is ever pending */
}

static inline unsigned int drv_recv(unsigned int port, struct load_sink *sink)
{
	struct port *p = &ports[port];
	struct ring *ring = &p->rx;
	unsigned int n = (uint16_t)(ring->used_seen - ring->used_index);

	if (n < LOAD_BURST)
		n = (uint16_t)(used_now(ring, sink->eager) - ring->used_index);
	if (n == 0)
		return 0;
	if (n > LOAD_BURST)
		n = LOAD_BURST;
	for (unsigned int i = 0; i < n; i++) {
		uint32_t slot = (ring->used_index + i) & RING_MASK;
		const uint8_t *buffer = ring->buffers + (size_t)slot * stride_bytes;

		__builtin_prefetch(buffer);
		__builtin_prefetch(buffer + FRAME_OFFSET);
	}
	for (unsigned int i = 0; i < n; i++) {
		uint32_t slot = (ring->used_index + i) & RING_MASK;
		const struct vring_used_elem *e = &ring->used->ring[slot];
		const uint8_t *frame = ring->buffers + (size_t)slot * stride_bytes + FRAME_OFFSET;
		const struct virtio_net_hdr_mrg_rxbuf *h = (const void *)(frame - HEADER_BYTES);

		if (e->id != slot)
			out_of_order(p, e->id, slot);
		if (h->num_buffers != 1 || e->len < HEADER_BYTES)
			sink->cut++;
		else if (load_line_seen(sink, frame, e->len - HEADER_BYTES) && sink->verify)
			sink->bad += !load_payload_same(frame + sizeof(struct load_line),
							((const struct load_line *)frame)->seq, 0,
							e->len - HEADER_BYTES -
								sizeof(struct load_line));
	}
	ring->used_index = (uint16_t)(ring->used_index + n);
	ring->avail_index = (uint16_t)(ring->avail_index + n);
	publish(ring);
	return n;
}

/* ---- the front-end --------------------------------------------------------------------------- */

static void vu_send(const struct port *p, struct vu_message *m, const int *fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {m, VU_HEADER_BYTES + m->bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	m->flags |= VU_VERSION;
	if (fd) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), fd, sizeof(int));
	}
	if (sendmsg(p->fd, &msg, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
		load_die("bench-light: %s: send: %s", p->path, strerror(errno));
}

static uint64_t vu_reply(const struct port *p, uint32_t request)
{
	struct pollfd poll_fd = {.fd = p->fd, .events = POLLIN};
	struct vu_message m;
	size_t got = 0, want = VU_HEADER_BYTES + sizeof(uint64_t);

	while (got < want) {
		ssize_t n;

		if (poll(&poll_fd, 1, HANDSHAKE_MS) != 1)
			load_die("bench-light: %s: no answer to request %u", p->path, request);
		n = recv(p->fd, (char *)&m + got, want - got, 0);
		if (n <= 0)
			load_die("bench-light: %s: closed during request %u", p->path, request);
		got += (size_t)n;
	}
	if (m.request != request || !(m.flags & VU_FLAG_REPLY) || m.bytes != sizeof(uint64_t))
		load_die("bench-light: %s: strange answer to request %u", p->path, request);
	return m.u64;
}

static void vu_set_u64(const struct port *p, uint32_t request, uint64_t value, const int *fd)
{
	struct vu_message m = {.request = request, .bytes = sizeof(uint64_t), .u64 = value};

	vu_send(p, &m, fd);
}

static uint64_t vu_get_u64(const struct port *p, uint32_t request)
{
	struct vu_message m = {.request = request};

	vu_send(p, &m, NULL);
	return vu_reply(p, request);
}

static void vu_set_state(const struct port *p, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_message m = {.request = request, .bytes = 8};

	m.state.index = index;
	m.state.num = num;
	vu_send(p, &m, NULL);
}

static void vu_features(struct port *p)
{
	uint64_t offered = vu_get_u64(p, VU_GET_FEATURES), protocol;
	uint64_t want = UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_IN_ORDER |
			UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF | UINT64_C(1) << VU_F_PROTOCOL;

	if (!(offered & UINT64_C(1) << VIRTIO_F_VERSION_1) ||
	    !(offered & UINT64_C(1) << VU_F_PROTOCOL))
		load_die("bench-light: %s: offers no VERSION_1 or no protocol features: %#" PRIx64,
			 p->path, offered);
	p->in_order = offered >> VIRTIO_F_IN_ORDER & 1;
	protocol = vu_get_u64(p, VU_GET_PROTOCOL_FEATURES);
	p->reply_ack = protocol >> VU_PROTOCOL_F_REPLY & 1;
	vu_set_u64(p, VU_SET_PROTOCOL_FEATURES,
		   protocol & (1U << VU_PROTOCOL_F_MQ | 1U << VU_PROTOCOL_F_REPLY), NULL);
	vu_set_u64(p, VU_SET_OWNER, 0, NULL);
	vu_set_u64(p, VU_SET_FEATURES, offered & want, NULL);
}

static void vu_memory(const struct port *p)
{
	struct vu_message m = {.request = VU_SET_MEM_TABLE, .bytes = 8 + 32};

	m.memory.count = 1;
	m.memory.bytes = p->memory_bytes;
	m.memory.uva = (uintptr_t)p->memory;
	m.flags = p->reply_ack ? VU_FLAG_NEED_REPLY : 0;
	vu_send(p, &m, &p->memfd);
	if (p->reply_ack && vu_reply(p, VU_SET_MEM_TABLE) != 0)
		load_die("bench-light: %s: memory table refused", p->path);
}

static void vu_ring(const struct port *p, const struct ring *ring, uint32_t index)
{
	struct vu_message m = {.request = VU_SET_VRING_ADDR, .bytes = 40};

	vu_set_state(p, VU_SET_VRING_NUM, index, RING_SIZE);
	vu_set_state(p, VU_SET_VRING_BASE, index, 0);
	m.addr.index = index;
	m.addr.desc = (uintptr_t)ring->desc;
	m.addr.avail = (uintptr_t)ring->avail;
	m.addr.used = (uintptr_t)ring->used;
	vu_send(p, &m, NULL);
	vu_set_u64(p, VU_SET_VRING_CALL, index, &ring->call_fd);
	vu_set_u64(p, VU_SET_VRING_KICK, index, &ring->kick_fd);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void ring_init(struct port *p, struct ring *ring, size_t at, size_t buffers_at, bool rx)
{
	ring->desc = (struct vring_desc *)(p->memory + at);
	ring->avail = (struct vring_avail *)(p->memory + at + AVAIL_OFFSET);
	ring->used = (struct vring_used *)(p->memory + at + USED_OFFSET);
	ring->buffers = p->memory + buffers_at;
	ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->kick_fd < 0 || ring->call_fd < 0)
		load_die("bench-light: eventfd: %s", strerror(errno));
	ring->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (uint32_t i = 0; i < RING_SIZE; i++) {
		ring->desc[i].addr =
			buffers_at + (size_t)i * stride_bytes + FRAME_OFFSET - HEADER_BYTES;
		ring->desc[i].len = stride_bytes - FRAME_OFFSET + HEADER_BYTES;
		ring->desc[i].flags = rx ? VRING_DESC_F_WRITE : 0;
		ring->avail->ring[i] = (uint16_t)i;
	}
	if (rx) {
		ring->avail_index = RING_SIZE;
		ring->avail->idx = RING_SIZE;
	}
}

static void port_memory(struct port *p, bool huge)
{
	size_t buffers = (size_t)RING_SIZE * stride_bytes;
	size_t unit = huge ? HUGE_BYTES : 4096;

	p->memory_bytes = (2 * RING_BYTES + 2 * buffers + unit - 1) / unit * unit;
	p->memfd = memfd_create("bench-light", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
	if (p->memfd < 0 || ftruncate(p->memfd, (off_t)p->memory_bytes) != 0)
		load_die("bench-light: guest memory: %s", strerror(errno));
	p->memory = mmap(NULL, p->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			 p->memfd, 0);
	if (p->memory == MAP_FAILED)
		load_die("bench-light: guest memory: %s", strerror(errno));
	ring_init(p, &p->rx, 0, 2 * RING_BYTES, true);
	ring_init(p, &p->tx, RING_BYTES, 2 * RING_BYTES + buffers, false);
}

/* Connect; while nobody listens try again every 0.5 ms, for @timeout_ms at most. */
static void port_connect(struct port *p, uint32_t timeout_ms)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	uint64_t end = load_clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000U;

	if (strlen(p->path) >= sizeof(sa.sun_path))
		load_die("bench-light: %s: path too long", p->path);
	memcpy(sa.sun_path, p->path, strlen(p->path) + 1);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(p->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		if (load_clock_ns(CLOCK_MONOTONIC) > end)
			load_die("bench-light: %s: %s", p->path, strerror(errno));
		usleep(500);
	}
}

static void port_handshake(struct port *p)
{
	vu_features(p);
	vu_memory(p);
	vu_ring(p, &p->rx, 0);
	vu_ring(p, &p->tx, 1);
	vu_set_state(p, VU_SET_VRING_ENABLE, 0, 1);
	vu_set_state(p, VU_SET_VRING_ENABLE, 1, 1);
}

/* Measure the time stamp counter against the monotonic clock, for 20 ms. */
static void calibrate(void)
{
	uint64_t start = load_clock_ns(CLOCK_MONOTONIC), tsc = load_tsc(), ns;

	do {
		ns = load_clock_ns(CLOCK_MONOTONIC) - start;
	} while (ns < 20000000U);
	load_tsc_hz = (load_tsc() - tsc) * 1000000000U / ns;
}

/* Send until a frame has come through: CLOCK_MONOTONIC in ns when it came, 0 on time-out. */
static uint64_t first_frame(uint32_t timeout_ms)
{
	struct load_order o = {.window = ~0U, .frame_bytes = 64, .pairs_count = 1};
	uint64_t end = load_clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000U;

	flow_init(&flow_data, &o, LOAD_DATA, false);
	sink_init(&sink_far, &flow_data, &o);
	while (sink_far.frames == 0 && load_clock_ns(CLOCK_MONOTONIC) < end) {
		drv_send(0, &flow_data, 1);
		for (uint64_t t = load_tsc(); load_tsc() - t < load_tsc_hz / 5000;)
			drv_recv(1, &sink_far);
	}
	return sink_far.frames > 0 ? load_clock_ns(CLOCK_MONOTONIC) : 0;
}

static void bind_cpu(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		load_die("bench-light: processor %u: %s", cpu, strerror(errno));
}

int main(int argc, char **argv)
{
	uint32_t max_bytes = 1500;
	bool huge = false, first = false, idle = false;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--huge") == 0)
			huge = true;
		else if (strcmp(argv[i], "--first") == 0)
			first = true;
		else if (strcmp(argv[i], "--idle") == 0)
			idle = true;
		else if (strcmp(argv[i], "--cpu") == 0 && i + 1 < argc)
			bind_cpu(load_number(argv[++i]));
		else if (strcmp(argv[i], "--max-size") == 0 && i + 1 < argc)
			max_bytes = load_number(argv[++i]);
		else
			load_die("bench-light: unknown option %s", argv[i]);
	}
	for (; i < argc && port_count < PORTS_MAX; i++)
		ports[port_count++].path = argv[i];
	if (i < argc || (idle ? port_count < 1 : port_count != 2))
		load_die("usage: bench-light [--huge] [--cpu N] [--max-size N] [--first] [--idle] "
			 "SOCKET SOCKET ...");

	if (max_bytes > LOAD_BYTES_MAX)
		load_die("bench-light: --max-size is %d at most", LOAD_BYTES_MAX);
	stride_bytes = ((FRAME_OFFSET + max_bytes + 63) / 64 | 1) * 64;
	calibrate();
	pace_tsc = load_tsc_hz * PACE_NS / 1000000000U;
	for (unsigned int n = 0; n < port_count; n++)
		port_memory(&ports[n], huge);
	for (unsigned int n = 0; n < port_count; n++)
		port_connect(&ports[n], first ? 20000 : 0);
	for (unsigned int n = 0; n < port_count; n++)
		port_handshake(&ports[n]);
	if (first)
		load_answer("{\"ready\": true, \"first_frame_ns\": %" PRIu64 "}",
			    first_frame(20000));
	else
		load_answer("{\"ready\": true, \"driver\": \"light\", \"in_order\": %s}",
			    ports[0].in_order ? "true" : "false");
	load_serve();
	return 0;
}
