/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole guest: memory, driver, front-end, a MAC, and traffic that is checked. */
#include "guest/guest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/util.h"

/* In front of a frame's first byte: room for its header, and a cache line's alignment. */
#define ROOM_BYTES 64
#define REAP_BATCH 64

static void set_defaults(struct guest_options *o)
{
	if (!o->wait_ms)
		o->wait_ms = 10000;
	if (!o->features)
		o->features = GUEST_FEATURES_ALL & ~GUEST_F_IN_ORDER;
	if (!o->protocol)
		o->protocol = GUEST_PROTOCOL_ALL;
	if (!o->pairs)
		o->pairs = 1;
	if (!o->ring_size)
		o->ring_size = 256;
	if (!o->tx_pieces)
		o->tx_pieces = 1;
	if (!o->frame_bytes)
		o->frame_bytes = 2048;
	if (!o->rx_pieces)
		o->rx_pieces = 1;
}

/* What the queues take from guest memory, generously. */
static uint64_t memory_needed(const struct guest_options *o)
{
	uint64_t descs = 16ull * (o->tx_pieces + o->rx_pieces + 4);
	uint64_t buffers = o->frame_bytes + ROOM_BYTES + 64ull + o->rx_buffer_bytes + 64;

	return o->pairs * o->ring_size * (descs + buffers + CACHE_LINE_BYTES + 32) + (1 << 20);
}

static int make_pair(struct guest *g, struct guest_pair *p)
{
	const struct guest_options *o = &g->options;
	uint64_t features = g->frontend.features;
	bool indirect = features & GUEST_F_INDIRECT;
	struct guest_tx_options to = {
		.size = o->ring_size,
		.features = features,
		.indirect = indirect ? o->tx_indirect : GUEST_INDIRECT_NEVER,
		.pieces_max = o->tx_pieces,
		.header_apart = o->header_apart,
		.poison = o->poison,
	};
	struct guest_rx_options ro = {
		.size = o->ring_size,
		.features = features,
		.buffer_bytes = o->rx_buffer_bytes,
		.piece_count = o->rx_pieces,
		.header_apart = o->header_apart,
	};
	int error;

	p->timed = -1;
	error = guest_rx_init(&p->rx, &g->memory, &ro, &g->err);
	if (!error)
		error = guest_tx_init(&p->tx, &g->memory, &to, &g->err);
	if (error)
		return error;
	error = guest_slab_init(&p->buffers, &g->memory, o->ring_size, o->frame_bytes + ROOM_BYTES,
				CACHE_LINE_BYTES);
	if (error)
		errmsg_set(&g->err, "guest memory is too small for %u frames of %u bytes",
			   o->ring_size, o->frame_bytes);
	return error;
}

static int connect_and_negotiate(struct guest *g)
{
	struct guest_options *o = &g->options;
	struct frontend *f = &g->frontend;
	int error;

	if (o->listen) {
		error = frontend_listen(f, o->path);
		if (!error)
			error = frontend_accept(f, o->wait_ms);
	} else {
		error = frontend_connect(f, o->path, o->wait_ms);
	}
	if (!error)
		error = frontend_negotiate(f, o->features, o->protocol);
	if (error)
		g->err = f->err;
	else if (o->pairs > f->queue_pairs)
		error = errmsg_set(&g->err, "%s: %u queue pairs are wanted, %u are offered",
				   o->path, o->pairs, f->queue_pairs);
	return error;
}

int guest_open(struct guest *g, const struct guest_options *options)
{
	int error;

	memset(g, 0, sizeof(*g));
	g->options = *options;
	set_defaults(&g->options);
	traffic_mac(options->number, g->mac);
	frontend_init(&g->frontend);
	if (g->options.pairs > GUEST_PAIRS_MAX)
		return errmsg_set(&g->err, "%u queue pairs: at most %d", g->options.pairs,
				  GUEST_PAIRS_MAX);
	error = connect_and_negotiate(g);
	if (error)
		goto fail;
	if (!g->options.rx_buffer_bytes)
		g->options.rx_buffer_bytes = g->frontend.features & GUEST_F_MRG_RXBUF
						     ? 2048
						     : GUEST_HEADER_BYTES + g->options.frame_bytes;
	if (!g->options.memory.bytes)
		g->options.memory.bytes = memory_needed(&g->options);
	error = guest_memory_init(&g->memory, &g->options.memory, &g->err);
	if (error)
		goto fail;
	g->pair_count = g->options.pairs;
	for (unsigned i = 0; i < g->pair_count; i++) {
		error = make_pair(g, &g->pairs[i]);
		if (error)
			goto fail;
	}
	return 0;
fail:
	guest_close(g);
	return error;
}

void guest_close(struct guest *g)
{
	if (!g->options.path)
		return;
	g->options.path = NULL;
	g->running = false;
	frontend_fini(&g->frontend);
	for (unsigned i = 0; i < GUEST_PAIRS_MAX; i++) {
		guest_rx_fini(&g->pairs[i].rx);
		guest_tx_fini(&g->pairs[i].tx);
		guest_slab_fini(&g->pairs[i].buffers);
	}
	guest_memory_fini(&g->memory);
	traffic_streams_fini(&g->streams);
	g->pair_count = 0;
}

/*
 * Enabled first: of a ring that runs and is not enabled yet the switch takes frames and discards
 * them, and some may be posted already.
 */
static int start_pair(struct guest *g, unsigned i)
{
	struct guest_pair *p = &g->pairs[i];
	struct frontend *f = &g->frontend;
	int error = 0;

	if (!guest_ring_out_count(&p->rx.ring))
		guest_rx_fill(&p->rx);
	guest_ring_disarm(&p->rx.ring);
	guest_ring_disarm(&p->tx.ring);
	if (f->features & GUEST_F_PROTOCOL)
		error = frontend_ring_enable(f, 2 * i, true);
	if (!error && (f->features & GUEST_F_PROTOCOL))
		error = frontend_ring_enable(f, 2 * i + 1, true);
	if (!error)
		error = frontend_ring_setup(f, 2 * i, &p->rx.ring, p->rx_base);
	if (!error)
		error = frontend_ring_setup(f, 2 * i + 1, &p->tx.ring, p->tx_base);
	return error;
}

static int tell_all(struct guest *g)
{
	struct frontend *f = &g->frontend;
	uint64_t features;
	int error = 0;

	if (!f->memory)
		error = frontend_set_memory(f, &g->memory);
	if (!error && g->options.mtu && (f->protocol & FRONTEND_P_MTU))
		error = frontend_set_mtu(f, g->options.mtu);
	for (unsigned i = 0; !error && i < g->pair_count; i++)
		error = start_pair(g, i);
	if (!error)
		error = frontend_set_status(
			f, FRONTEND_STATUS_ACKNOWLEDGE | FRONTEND_STATUS_DRIVER |
				   FRONTEND_STATUS_FEATURES_OK | FRONTEND_STATUS_DRIVER_OK);
	/* An answer at the end: without acknowledgements, too, all of it was heard. */
	if (!error)
		error = frontend_get_u64(f, FRONTEND_GET_FEATURES, &features);
	return error;
}

int guest_start(struct guest *g)
{
	int error = tell_all(g);

	if (error) {
		g->err = g->frontend.err;
		return error;
	}
	g->running = true;
	/* What was posted while nobody looked; a kick more than wanted does no harm. */
	for (unsigned i = 0; i < g->pair_count; i++) {
		guest_rx_publish(&g->pairs[i].rx);
		guest_tx_publish(&g->pairs[i].tx);
		frontend_kick(&g->frontend, 2 * i);
		frontend_kick(&g->frontend, 2 * i + 1);
	}
	return 0;
}

/* The base that a stopped ring reports must be what the used ring says: nothing is out. */
static int check_base(struct guest *g, unsigned index, const struct guest_ring *r, uint16_t base)
{
	if (base == guest_ring_used_idx(r))
		return 0;
	errmsg_set(&g->err, "ring %u stopped at %u, but %u buffers came back", index, base,
		   guest_ring_used_idx(r));
	return -EPROTO;
}

static int stop_pair(struct guest *g, unsigned i)
{
	struct guest_pair *p = &g->pairs[i];
	int error;

	error = frontend_ring_stop(&g->frontend, 2 * i, &p->rx_base);
	if (!error)
		error = frontend_ring_stop(&g->frontend, 2 * i + 1, &p->tx_base);
	if (error) {
		g->err = g->frontend.err;
		return error;
	}
	error = check_base(g, 2 * i, &p->rx.ring, p->rx_base);
	return error ? error : check_base(g, 2 * i + 1, &p->tx.ring, p->tx_base);
}

int guest_stop(struct guest *g)
{
	int error = 0;

	g->running = false;
	for (unsigned i = 0; !error && i < g->pair_count; i++)
		error = stop_pair(g, i);
	while (guest_poll(g, UINT32_MAX))
		;
	return error;
}

int guest_reconnect(struct guest *g, int wait_ms)
{
	uint64_t features = g->frontend.features;
	int error = frontend_reopen(&g->frontend, wait_ms);

	if (!error)
		error = frontend_negotiate(&g->frontend, features, g->options.protocol);
	if (error) {
		g->err = g->frontend.err;
		return error;
	}
	if (g->frontend.features != features) {
		errmsg_set(&g->err, "the switch offers %#llx, the guest runs with %#llx",
			   (unsigned long long)g->frontend.offered, (unsigned long long)features);
		return -EREMOTEIO;
	}
	for (unsigned i = 0; i < g->pair_count; i++) {
		g->pairs[i].rx_base = guest_ring_used_idx(&g->pairs[i].rx.ring);
		g->pairs[i].tx_base = guest_ring_used_idx(&g->pairs[i].tx.ring);
	}
	return guest_start(g);
}

static uint64_t *sequence_of(struct guest *g, uint16_t receiver)
{
	for (unsigned i = 0; i < g->receiver_count; i++)
		if (g->receivers[i] == receiver)
			return &g->next_sequence[i];
	ASSERT(g->receiver_count < TRAFFIC_STREAMS_MAX);
	g->receivers[g->receiver_count] = receiver;
	return &g->next_sequence[g->receiver_count++];
}

/* Post the @bytes that lie in buffer @index behind its room. */
static int post(struct guest *g, struct guest_pair *p, uint32_t index, uint32_t bytes,
		const struct guest_offload *offload)
{
	struct guest_piece pieces[GUEST_PIECES_MAX];
	struct guest_block b = p->buffers.blocks[index];
	int head;

	b.gpa.addr += ROOM_BYTES;
	b.host += ROOM_BYTES;
	if (likely(g->options.tx_pieces == 1))
		pieces[0] = (struct guest_piece){b.gpa, b.host, bytes};
	else
		guest_pieces_cut(b, bytes, g->options.tx_pieces, pieces);
	head = guest_tx_post(&p->tx, pieces, g->options.tx_pieces, offload, index);
	if (unlikely(head < 0)) {
		guest_slab_give(&p->buffers, index);
		g->stats.full += head == -ENOSPC;
		return head;
	}
	if (p->timed < 0) {
		p->timed = index;
		p->timed_since_ns = clock_now_ns();
	}
	g->stats.sent++;
	g->stats.sent_bytes += bytes;
	return 0;
}

int guest_send_frame(struct guest *g, unsigned pair, uint16_t receiver, uint32_t bytes)
{
	struct guest_pair *p = &g->pairs[pair];
	uint64_t *sequence = sequence_of(g, receiver);
	int64_t index = guest_slab_take(&p->buffers);
	int error;

	ASSERT(pair < g->pair_count);
	ASSERT(bytes <= g->options.frame_bytes);
	if (index < 0) {
		g->stats.full++;
		return -ENOSPC;
	}
	traffic_write(p->buffers.blocks[index].host + ROOM_BYTES, bytes, g->options.number,
		      receiver, *sequence);
	error = post(g, p, (uint32_t)index, bytes, NULL);
	if (!error)
		++*sequence;
	return error;
}

int guest_send_bytes(struct guest *g, unsigned pair, const void *frame, uint32_t bytes,
		     const struct guest_offload *offload)
{
	struct guest_pair *p = &g->pairs[pair];
	int64_t index = guest_slab_take(&p->buffers);

	ASSERT(pair < g->pair_count);
	ASSERT(bytes <= g->options.frame_bytes);
	if (index < 0) {
		g->stats.full++;
		return -ENOSPC;
	}
	memcpy(p->buffers.blocks[index].host + ROOM_BYTES, frame, bytes);
	return post(g, p, (uint32_t)index, bytes, offload);
}

static void kick(struct guest *g, uint32_t index)
{
	frontend_kick(&g->frontend, index);
	g->stats.kicks++;
}

void guest_flush(struct guest *g)
{
	for (unsigned i = 0; i < g->pair_count; i++) {
		if (guest_rx_publish(&g->pairs[i].rx) && g->running)
			kick(g, 2 * i);
		if (guest_tx_publish(&g->pairs[i].tx) && g->running)
			kick(g, 2 * i + 1);
	}
}

/* Poison in a bad frame tells that its buffer had been given back before it was read. */
static bool has_poison(const struct guest_rx_frame *frame)
{
	for (uint32_t i = 0; i < frame->segment_count; i++)
		if (guest_poison_find(frame->segments[i].data, frame->segments[i].bytes, NULL))
			return true;
	return false;
}

static void account(struct guest *g, const struct traffic_id *id)
{
	struct traffic_stream *s = traffic_stream(&g->streams, id->sender, id->receiver);

	if (!s) {
		g->stats.bad++;
		return;
	}
	g->stats.lost -= s->lost;
	g->stats.duplicated -= s->duplicated;
	g->stats.reordered -= s->reordered;
	traffic_arrived(s, id->sequence);
	g->stats.lost += s->lost;
	g->stats.duplicated += s->duplicated;
	g->stats.reordered += s->reordered;
	g->stats.received++;
	g->stats.received_bytes += id->bytes;
}

static void receive(struct guest *g, const struct guest_rx_frame *frame)
{
	struct traffic_id id;

	switch (traffic_check(frame, !g->options.headers_only, &id)) {
	case TRAFFIC_OTHER:
		g->stats.other++;
		if (g->options.other)
			g->options.other(g->options.context, frame);
		break;
	case TRAFFIC_BAD:
		g->stats.bad++;
		g->stats.poisoned += has_poison(frame);
		break;
	case TRAFFIC_GOOD:
		if (id.receiver == g->options.number || id.receiver == TRAFFIC_BROADCAST)
			account(g, &id);
		else
			g->stats.foreign++;
		break;
	}
}

static uint32_t reap(struct guest *g, struct guest_pair *p)
{
	uint64_t cookies[REAP_BATCH];
	uint32_t n, total = 0;

	do {
		n = guest_tx_reap(&p->tx, cookies, REAP_BATCH);
		for (uint32_t i = 0; i < n; i++) {
			guest_slab_give(&p->buffers, (uint32_t)cookies[i]);
			if (p->timed == (int64_t)cookies[i]) {
				histogram_add(&g->away, clock_now_ns() - p->timed_since_ns);
				p->timed = -1;
			}
		}
		total += n;
	} while (n == REAP_BATCH);
	g->stats.returned += total;
	return total;
}

uint32_t guest_poll(struct guest *g, uint32_t budget)
{
	struct guest_rx_frame frame;
	uint32_t done = 0;

	for (unsigned i = 0; i < g->pair_count; i++) {
		struct guest_pair *p = &g->pairs[i];
		uint32_t n;

		done += reap(g, p);
		for (n = 0; n < budget && guest_rx_poll(&p->rx, &frame); n++) {
			receive(g, &frame);
			guest_rx_repost(&p->rx, &frame);
		}
		done += n;
	}
	guest_flush(g);
	return done;
}

bool guest_wait(struct guest *g, int timeout_ms)
{
	struct pollfd fds[2 * GUEST_PAIRS_MAX];
	unsigned count = 2 * g->pair_count;
	bool ready = false;

	for (unsigned i = 0; i < g->pair_count; i++) {
		struct guest_pair *p = &g->pairs[i];

		ready |= guest_ring_arm(&p->rx.ring, 0);
		ready |= guest_ring_arm(&p->tx.ring, 0);
		fds[2 * i] = (struct pollfd){g->frontend.vrings[2 * i].call, POLLIN, 0};
		fds[2 * i + 1] = (struct pollfd){g->frontend.vrings[2 * i + 1].call, POLLIN, 0};
	}
	if (!ready)
		poll(fds, count, timeout_ms);
	for (unsigned i = 0; i < count; i++)
		if (frontend_clear_call(&g->frontend, i))
			g->stats.interrupts++;
	for (unsigned i = 0; i < g->pair_count; i++) {
		struct guest_pair *p = &g->pairs[i];

		guest_ring_disarm(&p->rx.ring);
		guest_ring_disarm(&p->tx.ring);
		ready |= guest_ring_pending(&p->rx.ring) || guest_ring_pending(&p->tx.ring);
	}
	return ready;
}

const char *guest_fault(const struct guest *g)
{
	for (unsigned i = 0; i < g->pair_count; i++) {
		const struct guest_ring *rings[] = {&g->pairs[i].rx.ring, &g->pairs[i].tx.ring};

		for (unsigned k = 0; k < ARRAY_SIZE(rings); k++)
			for (int fault = 1; fault < GUEST_FAULT_COUNT; fault++)
				if (rings[k]->fault_counts[fault])
					return guest_fault_text((enum guest_fault)fault);
	}
	return NULL;
}

static uint64_t arrived(const struct guest *receiver, uint16_t sender, uint16_t number)
{
	for (unsigned i = 0; i < receiver->streams.count; i++) {
		const struct traffic_stream *s = receiver->streams.streams[i];

		if (s->sender == sender && s->receiver == number)
			return s->received;
	}
	return 0;
}

uint64_t guest_missing(const struct guest *receiver, const struct guest *sender)
{
	uint64_t missing = 0;

	for (unsigned i = 0; i < sender->receiver_count; i++) {
		uint16_t number = sender->receivers[i];

		if (number == receiver->options.number || number == TRAFFIC_BROADCAST)
			missing += sender->next_sequence[i] -
				   arrived(receiver, sender->options.number, number);
	}
	return missing;
}

uint32_t guest_out_count(const struct guest *g)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < g->pair_count; i++)
		count += guest_ring_out_count(&g->pairs[i].tx.ring);
	return count;
}
