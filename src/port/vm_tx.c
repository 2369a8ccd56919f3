/* SPDX-License-Identifier: BSD-2-Clause */
/* From the guest: its transmit ring becomes frames, and its buffers go back to it.
 *
 * Theory of operation
 *
 * A burst's chains are popped, their first lines fetched, then each becomes a frame: virtio-net
 * header and the first 128 bytes are read once into private memory (L9), the rest stays where it
 * lies. At the end of the burst every chain that nobody holds is returned. A chain that a port
 * holds was lent: a vm_lent record keeps its head until the last reference is gone; the completion
 * notes the head (L5) and the next publication returns it. IN_ORDER rings are never lent and are
 * returned by one used entry per burst.
 */
#include "port/vm_pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/prefetch.h"
#include "engine/hold.h"
#include "packet/offload.h"
#include "switch/bridge.h"

static_assert(FRAME_BURST <= 64, "a bit of vm_tx.held for every chain of a burst");

#define ETHERNET_HEADER_BYTES 14u
#define BURST_BYTES	      (256u * 1024) /* then other sources have their turn */

static struct vm_pair *pair_of_source(struct source *s)
{
	return container_of(s, struct vm_pair, source);
}

/* Lending */

static void hold_time_count(struct port_counters *c, uint64_t ns)
{
	unsigned bucket = ns ? 63u - (unsigned)__builtin_clzll(ns) : 0;

	if (bucket >= PORT_HOLD_BUCKETS)
		bucket = PORT_HOLD_BUCKETS - 1;
	counter_add(&c->hold_ns[bucket], 1);
	if (ns > counter_get(&c->hold_max_ns))
		counter_add(&c->hold_max_ns, ns - counter_get(&c->hold_max_ns));
}

/* The last reference is gone: note the head, publish later (L5). */
static void lent_complete(struct lr_ubuf *ubuf)
{
	struct vm_lent *lent = container_of(ubuf, struct vm_lent, ubuf);
	struct vm_pair *pair = lent->pair;
	struct vm_tx *tx = &pair->tx;
	struct worker *w = pair->source.worker;
	struct port_counters *counters = &pair->vm->port->counters[w->index];

	ASSERT(lent->out); /* L4 */
	lent->out = false;
	if (lent->generation == tx->generation) { /* L12 */
		ASSERT(tx->done_count < VM_LENT_MAX);
		tx->done[tx->done_count++] = lent->head;
		counter_add(&counters->completed, 1);
		hold_time_count(counters, w->now_ns - lent->since_ns);
	} else {
		counter_add(&counters->completed_old, 1);
	}
	mem_table_put(lent->table);
	lent->table = NULL;
	lent->next = tx->lent_free;
	tx->lent_free = lent;
	ASSERT(tx->lent_count > 0);
	tx->lent_count--;
}

static const struct lr_ubuf_ops lent_ops = {.complete = lent_complete};

static struct lr_ubuf *pair_lend(struct frame_lender *lender, struct frame *f)
{
	struct vm_tx *tx = container_of(lender, struct vm_tx, lender);
	struct vm_lent *lent = tx->lent_free;

	if (tx->ring.in_order) {
		lender->refusal = PORT_COPY_IN_ORDER;
		return NULL;
	}
	/* What completed in this burst waits in done[], which is as long as the quota at most. */
	if (!lent || tx->lent_count + tx->done_count >= tx->lent_quota) {
		lender->refusal = PORT_COPY_QUOTA;
		return NULL;
	}
	ASSERT(f->slot < tx->chain_count);
	ASSERT(!lent->out);
	tx->lent_free = lent->next;
	tx->lent_count++;
	tx->held |= 1ull << f->slot;
	lent->out = true;
	lent->head = tx->chains[f->slot].head;
	lent->generation = tx->generation;
	lent->since_ns = lent->pair->source.worker->now_ns;
	lent->table = mem_table_get(tx->ring.mem); /* L11 */
	lr_ubuf_init(&lent->ubuf, &lent_ops);
	return &lent->ubuf;
}

/* Receiving */

/* Take @bytes from the front of @f's segments into private memory. */
static NOINLINE void segments_take(struct frame *f, uint8_t *to, uint32_t bytes)
{
	while (bytes) {
		struct segment *s = f->segments;
		uint32_t part = min_u32(bytes, s->bytes);

		mem_copy_head(to, s->data, part);
		to += part;
		bytes -= part;
		s->data += part;
		s->bytes -= part;
		if (s->bytes == 0) {
			f->segments++;
			f->segment_count--;
		}
	}
}

/* Header and snapshot lie in one piece: nearly always so, but for a header in its own. */
static inline void snapshot_plain(struct frame *f, struct virtio_net_header *header,
				  uint32_t header_bytes)
{
	struct segment *s = f->segments;
	uint32_t taken = header_bytes + f->head_bytes;

	/* A legacy header is two bytes shorter; what follows it is there all the same. */
	memcpy(header, s->data, VIRTIO_NET_HEADER_BYTES);
	mem_copy_head(f->head, s->data + header_bytes, f->head_bytes);
	s->data += taken;
	s->bytes -= taken;
	if (s->bytes == 0) {
		f->segments++;
		f->segment_count--;
	}
}

/* What the sender wants finished, checked on the private copies. Return: the frame is good */
static NOINLINE bool offload_read(struct frame *f, const struct virtio_net_header *h,
				  unsigned allowed)
{
	f->offload = (struct lr_offload){
		.flags = h->flags,
		.gso_type = h->gso_type,
		.hdr_len = le16_get(h->hdr_len),
		.gso_size = le16_get(h->gso_size),
		.csum_start = le16_get(h->csum_start),
		.csum_offset = le16_get(h->csum_offset),
	};
	return packet_offload_valid(&f->offload, f->head, f->head_bytes, f->bytes, allowed);
}

/* One chain as a frame. Return: LR_DROP_COUNT when it is good, else why it is dropped */
static inline enum lr_drop_reason frame_build(struct vm_tx *tx, struct frame *f,
					      const struct virtio_chain *c,
					      struct segment *segments)
{
	struct virtio_net_header header = {0}; /* a legacy one is shorter */

	if (unlikely(c->verdict != VIRTIO_CHAIN_OK))
		return LR_DROP_TX_MALFORMED;
	if (unlikely(c->bytes < tx->header_bytes + ETHERNET_HEADER_BYTES))
		return LR_DROP_TX_TOO_SHORT;
	if (unlikely(c->bytes - tx->header_bytes > LR_PACKET_BYTES_MAX))
		return LR_DROP_TX_TOO_LONG;
	f->bytes = c->bytes - tx->header_bytes;
	f->head = f->room + FRAME_HEADROOM;
	f->head_bytes = (uint16_t)min_u32(f->bytes, FRAME_SNAPSHOT_BYTES);
	f->segments = segments + c->first;
	f->segment_count = c->count;
	if (likely(f->segments->bytes >= tx->header_bytes + f->head_bytes)) {
		snapshot_plain(f, &header, tx->header_bytes);
	} else {
		segments_take(f, (uint8_t *)&header, tx->header_bytes);
		segments_take(f, f->head, f->head_bytes);
	}
	compiler_barrier(); /* L9: from here on the private copies are all there is */
	f->lender = &tx->lender;
	f->ubuf = NULL;
	f->vlan = 0;
	f->offload = (struct lr_offload){0};
	if (likely(header.flags == 0 && header.gso_type == 0))
		return LR_DROP_COUNT;
	return offload_read(f, &header, tx->offloads_allowed) ? LR_DROP_COUNT : LR_DROP_TX_OFFLOAD;
}

/* The burst is heavy enough: the chains from @count on are taken another time. */
static NOINLINE void burst_cut(struct vm_tx *tx, unsigned count)
{
	while (tx->chain_count > count)
		virtio_ring_unpop(&tx->ring, &tx->chains[--tx->chain_count].head, 1);
}

static void burst_build(struct vm_pair *pair, struct worker *w)
{
	struct port_counters *counters = &pair->vm->port->counters[w->index];
	bool enabled = atomic_load_explicit(&pair->tx.enabled, memory_order_acquire);
	struct vm_tx *tx = &pair->tx;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < tx->chain_count; i++) {
		struct frame *f = &w->burst.frames[w->burst.count];
		enum lr_drop_reason why;

		if (unlikely(bytes >= BURST_BYTES)) {
			burst_cut(tx, i);
			break;
		}
		why = frame_build(tx, f, &tx->chains[i], w->burst.segments);
		if (unlikely(!enabled))
			why = LR_DROP_TX_DISABLED;
		if (unlikely(why != LR_DROP_COUNT)) {
			counter_add(&counters->drops[why], 1);
			continue;
		}
		f->slot = (uint16_t)i;
		bytes += f->bytes;
		w->burst.count++;
	}
	counter_add(&counters->in_frames, tx->chain_count);
	counter_add(&counters->in_bytes, bytes);
}

static unsigned pair_recv(struct source *s, struct worker *w)
{
	struct vm_pair *pair = pair_of_source(s);
	struct vm_tx *tx = &pair->tx;
	unsigned other = tx->done_count;

	tx->chain_count = 0;
	if (unlikely(!copyq_is_empty(&pair->copyq)))
		other += vm_rx_drain(pair, w);
	if (unlikely(!tx->running))
		return other;
	tx->chain_count = virtio_ring_pop(&tx->ring, tx->chains, FRAME_BURST, w->burst.segments,
					  FRAME_BURST_SEGMENTS);
	if (tx->chain_count == 0)
		return other;
	for (unsigned i = 0; i < tx->chain_count; i++) {
		const uint8_t *data = w->burst.segments[tx->chains[i].first].data;

		__builtin_prefetch(data);
		__builtin_prefetch(data + CACHE_LINE_BYTES);
	}
	if (tx->likely >= 0) {
		struct port *out = bridge_port(w->bridge, (unsigned)tx->likely);

		tx->prepared = out ? vm_rx_prepare(out, w, tx->chain_count) : NULL;
	}
	burst_build(pair, w);
	return tx->chain_count + other;
}

/* Giving back */

static void chains_return(struct vm_tx *tx)
{
	if (tx->chain_count == 0)
		return;
	if (tx->ring.in_order) {
		ASSERT(tx->held == 0);
		virtio_ring_use_batch(&tx->ring, tx->chains, tx->chain_count);
		return;
	}
	for (unsigned i = 0; i < tx->chain_count; i++)
		if (!(tx->held & 1ull << i))
			virtio_ring_use(&tx->ring, tx->chains[i].head, 0);
}

static void done_return(struct vm_tx *tx)
{
	for (unsigned i = 0; i < tx->done_count; i++)
		virtio_ring_use(&tx->ring, tx->done[i], 0);
	tx->done_count = 0;
}

/* The turn's own references of what was lent in it. */
static void turn_references_put(struct worker *w)
{
	for (unsigned i = 0; i < w->burst.count; i++) {
		struct frame *f = &w->burst.frames[i];

		if (f->ubuf)
			lr_ubuf_put(f->ubuf);
		f->ubuf = NULL;
	}
}

static void pair_publish(struct source *s, struct worker *w)
{
	struct vm_pair *pair = pair_of_source(s);
	struct vm_tx *tx = &pair->tx;

	ASSERT(s->worker == w); /* L5: the ring's own worker publishes, nobody else */
	if (!tx->running)
		return;
	tx->likely = w->touched_count == 1 ? w->touched[0] : -1;
	if (tx->held)
		turn_references_put(w);
#ifdef LR_VERIFY
	memset(w->burst.frames, 0xa5, sizeof(w->burst.frames)); /* L1: nobody may look any more */
#endif
	if (unlikely(mem_table_is_broken(tx->ring.mem)))
		virtio_ring_break(&tx->ring, "guest memory was truncated");
	if (likely(!tx->ring.broken)) {
		chains_return(tx);
		done_return(tx);
		tx->published = virtio_ring_publish(&tx->ring);
	}
	tx->chain_count = 0;
	tx->held = 0;
}

static void pair_notify(struct source *s, struct worker *w)
{
	struct vm_pair *pair = pair_of_source(s);
	struct vm_tx *tx = &pair->tx;
	int fd = atomic_load_explicit(&tx->call_fd, memory_order_relaxed);

	if (tx->prepared)
		vm_rx_release(tx->prepared, w);
	tx->prepared = NULL;
	if (tx->published && virtio_ring_wants_call(&tx->ring) && fd >= 0) {
		engine_call_guest(w, fd);
		counter_add(&pair->vm->port->counters[w->index].calls, 1);
	}
	tx->published = false;
}

static bool pair_arm(struct source *s)
{
	struct vm_pair *pair = pair_of_source(s);
	bool work = pair->tx.done_count > 0;

	if (pair->tx.running && !pair->tx.ring.broken)
		work |= virtio_ring_enable_kicks(&pair->tx.ring);
	return vm_rx_arm(pair) || work;
}

static void pair_disarm(struct source *s)
{
	struct vm_pair *pair = pair_of_source(s);

	if (pair->tx.running && !pair->tx.ring.broken)
		virtio_ring_disable_kicks(&pair->tx.ring);
	vm_rx_disarm(pair);
}

static const struct source_ops pair_source_ops = {
	.recv = pair_recv,
	.publish = pair_publish,
	.notify = pair_notify,
	.arm = pair_arm,
	.disarm = pair_disarm,
};

/* Life, main thread */

void vm_pair_detach(struct vm_pair *pair)
{
	if (pair->attached)
		engine_detach(pair->vm->port->env->engine, &pair->source);
	pair->attached = false;
}

void vm_pair_attach(struct vm_pair *pair)
{
	ASSERT(!pair->attached);
	if (!pair->tx.running && !pair->rx.running)
		return;
	pair->source.fds[0] = pair->tx.running ? pair->tx.kick_fd : -1;
	pair->source.fds[1] = pair->rx.running ? pair->rx.kick_fd : -1;
	engine_attach(pair->vm->port->env->engine, &pair->source);
	pair->attached = true;
}

int vm_pair_new(struct vm_port *vm, unsigned pair_index, struct vm_pair **ret_pair)
{
	struct vm_pair *pair = aligned_alloc(CACHE_LINE_BYTES, sizeof(*pair));

	if (!pair)
		return -ENOMEM;
	memset(pair, 0, sizeof(*pair));
	if (copyq_init(&pair->copyq)) {
		free(pair);
		return -ENOMEM;
	}
	pair->vm = vm;
	pair->source = (struct source){
		.ops = &pair_source_ops,
		.port = vm->port,
		.queue_index = pair_index,
		.fds = {-1, -1},
		.fds_are_events = true,
	};
	pair->tx.lender.lend = pair_lend;
	pair->tx.call_fd = -1;
	pair->rx.call_fd = -1;
	for (unsigned i = 0; i < VM_LENT_MAX; i++) {
		pair->tx.lent[i].pair = pair;
		pair->tx.lent[i].next = pair->tx.lent_free;
		pair->tx.lent_free = &pair->tx.lent[i];
	}
	*ret_pair = pair;
	return 0;
}

void vm_pair_free(struct vm_pair *pair)
{
	if (!pair)
		return;
	ASSERT(!pair->attached);
	ASSERT(pair->tx.lent_count == 0); /* L13 */
	copyq_fini(&pair->copyq);
	free(pair);
}

static unsigned offloads_allowed(uint64_t features)
{
	unsigned allowed = 0;

	if (features & VIRTIO_NET_CSUM)
		allowed |= PACKET_OFFLOAD_CSUM;
	if (features & VIRTIO_NET_HOST_TSO4)
		allowed |= PACKET_OFFLOAD_TSO4;
	if (features & VIRTIO_NET_HOST_TSO6)
		allowed |= PACKET_OFFLOAD_TSO6;
	if (features & VIRTIO_NET_HOST_ECN)
		allowed |= PACKET_OFFLOAD_ECN;
	return allowed;
}

int vm_tx_start(struct vm_pair *pair, const struct vhost_ring_info *info)
{
	struct vm_tx *tx = &pair->tx;
	int err;

	ASSERT(!tx->running);
	vm_pair_detach(pair);
	err = virtio_ring_start(&tx->ring, VIRTIO_DRIVER_TO_DEVICE, &info->config);
	if (!err) {
		tx->header_bytes = virtio_net_header_bytes(info->config.features);
		tx->offloads_allowed = offloads_allowed(info->config.features);
		tx->lent_quota = min_u32(VM_LENT_MAX, info->config.size / 4);
		tx->kick_fd = info->kick_fd;
		tx->call_fd = info->call_fd;
		tx->generation++;
		tx->done_count = 0;
		tx->chain_count = 0;
		tx->held = 0;
		tx->likely = -1;
		tx->running = true;
	}
	vm_pair_attach(pair);
	return err;
}

struct tx_stop {
	struct vm_pair *pair;
	bool peer_gone;
	uint16_t next;
};

static void tx_stop_on_worker(struct worker *w, void *arg)
{
	struct tx_stop *stop = arg;
	struct vm_tx *tx = &stop->pair->tx;

	if (tx->lent_count)
		hold_orphan_all(w);
	ASSERT(tx->lent_count == 0); /* L11: every holder of ours gives up at once */
	/* L11: a peer that is gone may have restarted its ring from the used index that it saw. */
	if (!stop->peer_gone && !tx->ring.broken) {
		done_return(tx);
		virtio_ring_publish(&tx->ring);
	}
	tx->done_count = 0;
	tx->generation++; /* L12 */
	tx->running = false;
	stop->next = virtio_ring_stop(&tx->ring);
}

uint16_t vm_tx_stop(struct vm_pair *pair, bool peer_gone)
{
	struct tx_stop stop = {.pair = pair, .peer_gone = peer_gone};

	ASSERT(pair->tx.running);
	engine_call(pair->vm->port->env->engine, pair->source.worker->index, tx_stop_on_worker,
		    &stop);
	vm_pair_detach(pair);
	pair->tx.kick_fd = -1;
	pair->tx.call_fd = -1;
	vm_pair_attach(pair);
	return stop.next;
}

void vm_tx_enable(struct vm_pair *pair, bool enable)
{
	atomic_store_explicit(&pair->tx.enabled, enable, memory_order_release);
}

void vm_tx_call(struct vm_pair *pair, int call_fd)
{
	atomic_store(&pair->tx.call_fd, call_fd);
	engine_quiesce(pair->vm->port->env->engine); /* nobody writes to the old one any more */
}

/* Show */

struct pair_show {
	struct vm_pair *pair;
	struct vm_pair_show *show;
};

static void show_on_worker(struct worker *w, void *arg)
{
	struct pair_show *ps = arg;
	struct vm_tx *tx = &ps->pair->tx;

	ps->show->lent_count = tx->lent_count;
	for (unsigned i = 0; i < VM_LENT_MAX; i++)
		if (tx->lent[i].out && w->now_ns - tx->lent[i].since_ns > ps->show->lent_oldest_ns)
			ps->show->lent_oldest_ns = w->now_ns - tx->lent[i].since_ns;
}

void vm_pair_show(struct vm_pair *pair, struct vm_pair_show *ret_show)
{
	struct pair_show ps = {.pair = pair, .show = ret_show};
	struct copyq *q = &pair->copyq;

	*ret_show = (struct vm_pair_show){
		.tx_broken = pair->tx.ring.broken,
		.rx_broken = pair->rx.ring.broken,
		.tx_running = pair->tx.running,
		.rx_running = pair->rx.running,
		.tx_size = pair->tx.ring.size,
		.rx_size = pair->rx.ring.size,
		.copyq_frames = q->count,
		.copyq_bytes = (unsigned)(q->head - q->tail),
	};
	if (!pair->source.worker)
		return;
	ret_show->worker_index = pair->source.worker->index;
	engine_call(pair->vm->port->env->engine, ret_show->worker_index, show_on_worker, &ps);
}
