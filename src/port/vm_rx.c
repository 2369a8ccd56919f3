/* SPDX-License-Identifier: BSD-2-Clause */
/* To the guest: frames are copied into the buffers that it posted, once, from where they lie.
 *
 * Theory of operation
 *
 * A worker takes the receive ring's lock by trylock and keeps it for its burst. Buffers are popped
 * and checked ahead for the burst, their lines fetched for writing; what is left over stays for
 * the next one and is given back when the ring stops. A frame's private head is written from the
 * snapshot (L9), the rest from the sender's memory. When buffers are short, or another worker has
 * the lock, frames go to the copying queue, and so do all behind them until it is empty: order is
 * kept and no sender waits for this guest. Its pair's worker drains it.
 */
#include "port/vm_pair.h"

#include <errno.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/prefetch.h"

#define DRAIN_FRAMES	    64	 /* of the copying queue in one turn */
#define PREFETCH_NEXT_BYTES 9216 /* of the buffer behind the one that is written */
#define USED_PER_LINE	    (CACHE_LINE_BYTES / sizeof(struct virtio_used_entry))
#define RX_AHEAD_MIN	    4  /* receive buffers kept at hand between bursts ... */
#define RX_AHEAD	    16 /* ... and how many are fetched when there are fewer */

/* The lock, for one burst */

static bool rx_owned(const struct vm_rx *rx, const struct worker *w)
{
	return atomic_load_explicit(&rx->owner, memory_order_relaxed) == w;
}

static bool rx_lock(struct vm_rx *rx, struct worker *w)
{
	if (rx_owned(rx, w))
		return true;
	if (!spinlock_try(&rx->lock))
		return false;
	atomic_store_explicit(&rx->owner, w, memory_order_relaxed);
	return true;
}

static void rx_unlock(struct vm_rx *rx)
{
	atomic_store_explicit(&rx->owner, NULL, memory_order_relaxed);
	spinlock_unlock(&rx->lock);
}

/* Buffers popped ahead */

/* Move what is left to the front, so that the arrays have room behind it. */
static unsigned rx_compact(struct vm_rx *rx)
{
	unsigned used = 0;

	if (rx->count) {
		unsigned from = rx->chains[rx->first].first;
		struct virtio_chain *last = &rx->chains[rx->first + rx->count - 1];

		used = last->first + last->count - from;
		if (rx->first == 0)
			return from + used;
		memmove(rx->segments, rx->segments + from, used * sizeof(*rx->segments));
		memmove(rx->chains, rx->chains + rx->first, rx->count * sizeof(*rx->chains));
		for (unsigned i = 0; i < rx->count; i++)
			rx->chains[i].first = (uint16_t)(rx->chains[i].first - from);
	}
	rx->first = 0;
	return used;
}

/* At least @wanted chains ahead, if the guest offers as many. Return: chains ahead */
static unsigned rx_fill(struct vm_rx *rx, unsigned wanted)
{
	unsigned used, added;

	if (rx->count >= wanted || rx->ring.broken)
		return rx->count;
	if (wanted > VM_RX_CHAINS)
		wanted = VM_RX_CHAINS;
	used = rx_compact(rx);
	added = virtio_ring_pop(&rx->ring, rx->chains + rx->count, wanted - rx->count,
				rx->segments + used, VM_RX_SEGMENTS - used);
	for (unsigned i = 0; i < added; i++) {
		struct virtio_chain *c = &rx->chains[rx->count + i];
		const uint8_t *data;

		c->first = (uint16_t)(c->first + used);
		data = rx->segments[c->first].data;
		if (c->count == 0)
			continue;
		prefetch_for_write(data);
		prefetch_for_write(data + CACHE_LINE_BYTES);
	}
	rx->count += added;
	for (unsigned i = 0; i < added; i += USED_PER_LINE)
		virtio_ring_prefetch_used(&rx->ring, rx->count - added + i);
	return rx->count;
}

static void rx_consume(struct vm_rx *rx, uint32_t bytes)
{
	virtio_ring_use(&rx->ring, rx->chains[rx->first].head, bytes);
	rx->first++;
	rx->count--;
}

/* Chains that the device cannot write to go back unused: the guest's fault, bounded by its ring. */
static void rx_skip_bad(struct vm_rx *rx)
{
	while (rx->count && rx->chains[rx->first].verdict != VIRTIO_CHAIN_OK)
		rx_consume(rx, 0);
}

/* Delivery */

enum rx_result {
	RX_DONE,
	RX_SHORT,     /* not enough buffers now */
	RX_TOO_SMALL, /* the guest's buffers can never take it */
};

static inline uint64_t header_first_word(const struct lr_offload *o)
{
	return (uint64_t)o->flags | (uint64_t)o->gso_type << 8 | (uint64_t)o->hdr_len << 16 |
	       (uint64_t)o->gso_size << 32 | (uint64_t)o->csum_start << 48;
}

/* The virtio-net header, from private values only. */
static inline void header_make(uint8_t header[VIRTIO_NET_HEADER_BYTES], const struct lr_offload *o,
			       unsigned num_buffers)
{
	uint64_t first = htole64(header_first_word(o));
	uint32_t last = htole32((uint32_t)o->csum_offset | (uint32_t)num_buffers << 16);

	memcpy(header, &first, sizeof(first));
	memcpy(header + sizeof(first), &last, sizeof(last));
}

/* Everything fits into one segment: nearly always so. */
static inline void rx_put_plain(struct vm_rx *rx, const struct frame *f, uint8_t *to,
				uint32_t header_bytes)
{
	uint8_t header[VIRTIO_NET_HEADER_BYTES];
	const struct segment *s = f->segments, *end = s + f->segment_count;

	/* Of a legacy header the last two bytes are overwritten by the frame. */
	header_make(header, &f->offload, 1);
	memcpy(to, header, sizeof(header));
	to += header_bytes;
	mem_copy_head(to, f->head, f->head_bytes);
	to += f->head_bytes;
	for (; s < end; s++) {
		mem_copy(to, s->data, s->bytes);
		to += s->bytes;
	}
	rx_consume(rx, header_bytes + f->bytes);
	mem_copied_bytes += f->head_bytes;
}

/* Where scattered writing stands. */
struct scatter {
	const struct segment *segment;
	unsigned left;	  /* segments from @segment on, in this chain */
	uint32_t offset;  /* in @segment */
	uint32_t written; /* into this chain */
	struct vm_rx *rx;
};

static void scatter_chain(struct scatter *s)
{
	const struct virtio_chain *c = &s->rx->chains[s->rx->first];

	s->segment = &s->rx->segments[c->first];
	s->left = c->count;
	s->offset = 0;
	s->written = 0;
}

static void scatter_write(struct scatter *s, const uint8_t *data, uint32_t bytes)
{
	while (bytes) {
		uint32_t part;

		if (s->left && s->offset == s->segment->bytes) {
			s->segment++;
			s->left--;
			s->offset = 0;
		}
		if (s->left == 0) { /* this chain is full: the next takes the rest */
			rx_consume(s->rx, s->written);
			rx_skip_bad(s->rx);
			scatter_chain(s);
		}
		part = min_u32(bytes, s->segment->bytes - s->offset);
		mem_copy(s->segment->data + s->offset, data, part);
		s->offset += part;
		s->written += part;
		data += part;
		bytes -= part;
	}
}

/* Chains that @need bytes take, popping more as needed. */
static enum rx_result rx_reserve(struct vm_rx *rx, uint32_t need, unsigned *ret_chains)
{
	uint64_t room = 0;
	unsigned chains = 0;

	for (unsigned i = 0;; i++) {
		const struct virtio_chain *c;

		if (i == VM_RX_CHAINS)
			return RX_TOO_SMALL;
		if (i >= rx->count && rx_fill(rx, i + 1) <= i)
			/* The whole ring is not enough, or the next chain has so many pieces that
			 * it finds no room beside the others: waiting would not help. */
			return rx->ring.size <= i || virtio_ring_left_avail(&rx->ring)
				       ? RX_TOO_SMALL
				       : RX_SHORT;
		c = &rx->chains[rx->first + i];
		if (c->verdict != VIRTIO_CHAIN_OK)
			continue;
		room += c->bytes;
		chains++;
		if (room >= need)
			break;
		if (!rx->mergeable)
			return RX_TOO_SMALL;
	}
	*ret_chains = chains;
	return RX_DONE;
}

static NOINLINE enum rx_result rx_put_scattered(struct vm_rx *rx, const struct frame *f)
{
	uint8_t header[VIRTIO_NET_HEADER_BYTES];
	struct scatter s = {.rx = rx};
	unsigned chains = 0;
	enum rx_result result;

	rx_skip_bad(rx); /* also when there is no good one: they must not stay in front */
	result = rx_reserve(rx, rx->header_bytes + f->bytes, &chains);
	if (result != RX_DONE)
		return result;
	rx_skip_bad(rx);
	/* Without MRG_RXBUF a VERSION_1 driver finds 1 here (virtio 1.3, 5.1.6.4). */
	header_make(header, &f->offload, chains);
	scatter_chain(&s);
	scatter_write(&s, header, rx->header_bytes);
	mem_copied_bytes -= rx->header_bytes; /* payload is what is counted */
	scatter_write(&s, f->head, f->head_bytes);
	for (unsigned i = 0; i < f->segment_count; i++)
		scatter_write(&s, f->segments[i].data, f->segments[i].bytes);
	rx_consume(rx, s.written);
	return RX_DONE;
}

static inline enum rx_result rx_put(struct vm_rx *rx, const struct frame *f)
{
	const struct virtio_chain *c = &rx->chains[rx->first];
	const uint32_t header_bytes = rx->header_bytes;

	if (likely(rx->count && c->count == 1 && c->bytes >= header_bytes + f->bytes)) {
		rx_put_plain(rx, f, rx->segments[c->first].data, header_bytes);
		return RX_DONE;
	}
	return rx_put_scattered(rx, f);
}

/* Frames that were delivered, their bytes, and those of frames that lay in the sender's memory. */
struct tally {
	unsigned frames;
	uint64_t bytes;
	uint64_t in_place_bytes;
};

/* The lines that @next will be written to, while the frame in front of it is copied. Its first two
 * were fetched when its buffer was popped; small frames have no more. */
static inline void prefetch_next(const struct vm_rx *rx, const struct frame *next)
{
	const struct virtio_chain *c = &rx->chains[rx->first + 1];
	uint32_t bytes;
	const uint8_t *to;

	if (next->segment_count == 0 || rx->count < 2 || c->count == 0)
		return;
	to = rx->segments[c->first].data;
	bytes = min_u32(min_u32(next->bytes, rx->segments[c->first].bytes), PREFETCH_NEXT_BYTES);
	for (uint32_t at = 2 * CACHE_LINE_BYTES; at < bytes; at += CACHE_LINE_BYTES)
		prefetch_for_write(to + at);
}

/* Deliver until the buffers end. Return: frames dealt with */
static unsigned rx_deliver(struct vm_pair *pair, struct worker *w, struct frame *const *frames,
			   unsigned count, struct tally *tally)
{
	struct vm_rx *rx = &pair->rx;
	unsigned i;

	rx_fill(rx, count);
	for (i = 0; i < count; i++) {
		enum rx_result result;

		if (i + 1 < count)
			prefetch_next(rx, frames[i + 1]);
		result = rx_put(rx, frames[i]);
		if (unlikely(result == RX_SHORT))
			break;
		if (unlikely(result == RX_TOO_SMALL)) {
			port_drop(pair->vm->port, w->index, LR_DROP_RX_TOO_SMALL, 1);
			continue;
		}
		tally->frames++;
		tally->bytes += frames[i]->bytes;
		tally->in_place_bytes += frames[i]->lender ? frames[i]->bytes : 0;
	}
	return i;
}

/* The copying queue */

static void copyq_add(struct vm_pair *pair, struct worker *w, struct frame *const *frames,
		      unsigned count)
{
	struct port_counters *in = &w->source->port->counters[w->index];

	for (unsigned i = 0; i < count; i++) {
		if (!copyq_append(&pair->copyq, frames[i])) {
			port_drop(pair->vm->port, w->index, LR_DROP_RX_FULL, count - i);
			return;
		}
		counter_add(&in->copied_frames[PORT_COPY_RX_QUEUE], 1);
		counter_add(&in->copied_bytes[PORT_COPY_RX_QUEUE], frames[i]->bytes);
	}
}

static void tally_count(struct vm_pair *pair, struct worker *w, const struct tally *t)
{
	struct port_counters *out = &pair->vm->port->counters[w->index];

	counter_add(&out->out_frames, t->frames);
	counter_add(&out->out_bytes, t->bytes);
}

/* With the lock: waiting frames into the ring, in order. Return: frames moved */
static unsigned drain_locked(struct vm_pair *pair, struct worker *w)
{
	struct vm_rx *rx = &pair->rx;
	struct tally tally = {0};
	struct segment segment;
	struct frame frame;
	struct frame *const list[] = {&frame};
	unsigned moved = 0;

	while (moved < DRAIN_FRAMES && copyq_peek(&pair->copyq, &frame, &segment)) {
		if (rx->ring.broken)
			port_drop(pair->vm->port, w->index, LR_DROP_RX_BROKEN, 1);
		else if (rx_deliver(pair, w, list, 1, &tally) == 0)
			break;
		copyq_take(&pair->copyq);
		moved++;
	}
	tally_count(pair, w, &tally);
	return moved;
}

static void rx_publish(struct vm_rx *rx)
{
	if (unlikely(mem_table_is_broken(rx->ring.mem)))
		virtio_ring_break(&rx->ring, "guest memory was truncated");
	if (likely(!rx->ring.broken))
		rx->published |= virtio_ring_publish(&rx->ring);
}

/* Behind the fence: unlock, then call. */
static void rx_unlock_and_call(struct vm_pair *pair, struct worker *w)
{
	struct vm_rx *rx = &pair->rx;
	int fd = atomic_load_explicit(&rx->call_fd, memory_order_relaxed);
	bool call = rx->published && virtio_ring_wants_call(&rx->ring) && fd >= 0;

	rx->published = false;
	/* For the next frame: its buffer is at hand before it arrives. */
	if (rx->count < RX_AHEAD_MIN)
		rx_fill(rx, RX_AHEAD);
	rx_unlock(rx);
	if (call) {
		engine_call_guest(w, fd);
		counter_add(&pair->vm->port->counters[w->index].calls, 1);
	}
}

unsigned vm_rx_drain(struct vm_pair *pair, struct worker *w)
{
	struct vm_rx *rx = &pair->rx;
	unsigned moved;

	if (!atomic_load_explicit(&rx->ready, memory_order_acquire) || !rx_lock(rx, w))
		return 0;
	moved = drain_locked(pair, w);
	rx_publish(rx);
	atomic_thread_fence(memory_order_seq_cst);
	rx_unlock_and_call(pair, w);
	return moved;
}

/* The port's data path */

/* One queue of the source keeps to one queue of the receiver: flows stay in order. */
static struct vm_pair *pair_for(struct vm_port *vm, const struct worker *w)
{
	unsigned count = atomic_load_explicit(&vm->pair_count, memory_order_acquire);

	if (unlikely(count == 0))
		return NULL;
	if (count == 1)
		return atomic_load_explicit(&vm->pairs[0], memory_order_acquire);
	return atomic_load_explicit(&vm->pairs[w->source->queue_index % count],
				    memory_order_acquire);
}

void vm_send(struct port *p, struct worker *w, struct frame *const *frames, unsigned count)
{
	void **queue = &w->outbox[p->index].queue;
	struct tally tally = {0};
	struct vm_pair *pair;
	unsigned done = 0;

	/* Pairs may come and go before notify(): the one chosen first stays for the burst. */
	if (!*queue)
		*queue = pair_for(p->impl, w);
	pair = *queue;
	if (unlikely(!pair || !atomic_load_explicit(&pair->rx.ready, memory_order_acquire))) {
		port_drop(p, w->index, LR_DROP_RX_DOWN, count);
		return;
	}
	if (likely(rx_lock(&pair->rx, w))) {
		if (unlikely(pair->rx.ring.broken)) {
			port_drop(p, w->index, LR_DROP_RX_BROKEN, count);
			return;
		}
		if (unlikely(!copyq_is_empty(&pair->copyq)))
			drain_locked(pair, w);
		if (likely(copyq_is_empty(&pair->copyq)))
			done = rx_deliver(pair, w, frames, count, &tally);
		tally_count(pair, w, &tally);
		counter_add(&w->source->port->counters[w->index].in_place_bytes,
			    tally.in_place_bytes);
	}
	if (unlikely(done < count))
		copyq_add(pair, w, frames + done, count - done);
}

void vm_publish(struct port *p, struct worker *w)
{
	struct vm_pair *pair = w->outbox[p->index].queue;

	if (pair && rx_owned(&pair->rx, w))
		rx_publish(&pair->rx);
}

void vm_notify(struct port *p, struct worker *w)
{
	struct vm_pair *pair = w->outbox[p->index].queue;

	w->outbox[p->index].queue = NULL;
	if (!pair)
		return;
	if (rx_owned(&pair->rx, w))
		rx_unlock_and_call(pair, w);
	/* Frames wait for buffers: its own worker must look, it may be asleep. */
	if (unlikely(!copyq_is_empty(&pair->copyq)) && pair->source.worker != w)
		engine_kick(w->engine, pair->source.worker->index);
}

struct vm_pair *vm_rx_prepare(struct port *p, struct worker *w, unsigned count)
{
	struct vm_pair *pair = p->ops->send == vm_send ? pair_for(p->impl, w) : NULL;

	if (!pair || !atomic_load_explicit(&pair->rx.ready, memory_order_acquire) ||
	    !rx_lock(&pair->rx, w))
		return NULL;
	if (!pair->rx.ring.broken)
		rx_fill(&pair->rx, count);
	return pair;
}

void vm_rx_release(struct vm_pair *pair, struct worker *w)
{
	if (rx_owned(&pair->rx, w))
		rx_unlock(&pair->rx);
}

bool vm_rx_arm(struct vm_pair *pair)
{
	struct vm_rx *rx = &pair->rx;
	bool work = false;

	if (copyq_is_empty(&pair->copyq) || !atomic_load(&rx->ready))
		return false;
	if (!spinlock_try(&rx->lock))
		return true;
	if (!rx->ring.broken)
		work = virtio_ring_enable_kicks(&rx->ring);
	spinlock_unlock(&rx->lock);
	return work;
}

void vm_rx_disarm(struct vm_pair *pair)
{
	struct vm_rx *rx = &pair->rx;

	if (!atomic_load(&rx->ready) || !spinlock_try(&rx->lock))
		return;
	if (!rx->ring.broken)
		virtio_ring_disable_kicks(&rx->ring);
	spinlock_unlock(&rx->lock);
}

/* Life, main thread */

/* Pairs from the first on whose receive ring takes frames. */
static void pairs_count(struct vm_port *vm)
{
	unsigned count = 0;

	for (; count < VM_PAIRS_MAX; count++) {
		struct vm_pair *pair = atomic_load(&vm->pairs[count]);

		if (!pair || !pair->rx.ready)
			break;
	}
	atomic_store_explicit(&vm->pair_count, count, memory_order_release);
}

static void ready_update(struct vm_pair *pair)
{
	bool ready = pair->rx.running && pair->rx.enabled;

	atomic_store(&pair->rx.ready, ready);
	pairs_count(pair->vm);
	if (!ready) /* locks are held within a turn only */
		engine_quiesce(pair->vm->port->env->engine);
}

int vm_rx_start(struct vm_pair *pair, const struct vhost_ring_info *info)
{
	struct vm_rx *rx = &pair->rx;
	int err;

	ASSERT(!rx->running);
	vm_pair_detach(pair);
	err = virtio_ring_start(&rx->ring, VIRTIO_DEVICE_TO_DRIVER, &info->config);
	if (!err) {
		rx->header_bytes = virtio_net_header_bytes(info->config.features);
		rx->mergeable = info->config.features & VIRTIO_NET_MRG_RXBUF;
		rx->kick_fd = info->kick_fd;
		rx->call_fd = info->call_fd;
		rx->first = 0;
		rx->count = 0;
		rx->running = true;
	}
	vm_pair_attach(pair);
	ready_update(pair);
	return err;
}

/* What was popped ahead was never used: the guest finds it in its ring again. */
static void rx_roll_back(struct vm_rx *rx)
{
	for (unsigned i = rx->count; i-- > 0;)
		virtio_ring_unpop(&rx->ring, &rx->chains[rx->first + i].head, 1);
	rx->count = 0;
}

static void copyq_flush(struct vm_pair *pair)
{
	struct segment segment;
	struct frame frame;

	while (copyq_peek(&pair->copyq, &frame, &segment)) {
		copyq_take(&pair->copyq);
		port_drop(pair->vm->port, 0, LR_DROP_RX_DOWN, 1);
	}
}

uint16_t vm_rx_stop(struct vm_pair *pair, bool peer_gone)
{
	struct vm_rx *rx = &pair->rx;
	uint16_t next;

	(void)peer_gone; /* everything was published in its turn: nothing is left to store */
	ASSERT(rx->running);
	vm_pair_detach(pair);
	rx->running = false;
	ready_update(pair);
	rx_roll_back(rx);
	copyq_flush(pair);
	next = virtio_ring_stop(&rx->ring);
	rx->kick_fd = -1;
	rx->call_fd = -1;
	vm_pair_attach(pair);
	return next;
}

void vm_rx_enable(struct vm_pair *pair, bool enable)
{
	pair->rx.enabled = enable;
	ready_update(pair);
	/* What waited meanwhile: its worker did not ask for kicks of a ring that takes nothing. */
	if (enable && pair->attached && !copyq_is_empty(&pair->copyq))
		engine_kick(pair->vm->port->env->engine, pair->source.worker->index);
}

void vm_rx_call(struct vm_pair *pair, int call_fd)
{
	atomic_store(&pair->rx.call_fd, call_fd);
	engine_quiesce(pair->vm->port->env->engine);
}
