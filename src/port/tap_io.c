/* SPDX-License-Identifier: BSD-2-Clause */
/* The tap port's frames: to the kernel in batches, from the kernel in bursts. Worker context.
 *
 * Theory of operation
 *
 * Out: send() only notes where the pieces of a frame lie: a virtio-net header of ours, the private
 * head, the rest where the sender left it. publish() has all of them written, by one io_uring call
 * when there are several, and looks at every result: whatever the kernel did not take is dropped
 * with a reason. The kernel copies while it writes, so nothing is held: the port is PORT_SYNC.
 *
 * In: a non-blocking read per frame into private memory of the queue, header, snapshot and rest
 * each to its place; what the kernel asks to be finished is checked like a guest's request. A queue
 * that was empty is not looked at for some turns, because a busy turn of vm ports should not pay
 * for a system call that finds nothing; when the worker is about to sleep epoll tells.
 */
#include "port/tap.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "packet/offload.h"
#include "packet/parse.h"

#define PAUSE_TURNS_MAX 7
#define BURST_BYTES	(256 * 1024) /* read in one turn, about */
#define PIECES_MAX	1024	     /* of one write: UIO_MAXIOV */

static_assert(sizeof(struct virtio_net_header) == VIRTIO_NET_HEADER_BYTES,
	      "as set by TUNSETVNETHDRSZ");
static_assert(TAP_REST_BYTES > LR_PACKET_BYTES_MAX, "a frame fits, and what is longer is seen");
static_assert(FRAME_BURST <= URING_BATCH, "a burst is one batch");

/* The device was deleted: the main thread has to know, once. */
static void gone_tell(struct tap *tap)
{
	uint64_t one = 1;

	if (atomic_exchange(&tap->gone, true))
		return;
	if (write(tap->gone_fd, &one, sizeof(one)) < 0)
		ASSERT(errno == EAGAIN); /* our own eventfd: it is told already */
}

/* Out */

static enum lr_drop_reason reason_of(struct tap *tap, int error)
{
	switch (error) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return LR_DROP_EGRESS_FULL;
	case EIO: /* the interface is down */
		return LR_DROP_RX_DOWN;
	case EBADFD:
	case ENODEV:
		gone_tell(tap);
		return LR_DROP_PORT_GONE;
	default:
		return LR_DROP_EGRESS_ERROR;
	}
}

/* Each frame by a call of its own, but for those that are done already. */
static void write_singly(struct tap *tap, struct tap_out *out, unsigned count, int32_t *results)
{
	int fd = tap->queues[out->queue_index].fd;

	for (unsigned i = 0; i < count; i++) {
		ssize_t ret;

		if (results[i] != URING_NOT_DONE)
			continue;
		do {
			ret = writev(fd, out->iov[i], (int)out->iov_count[i]);
		} while (ret < 0 && errno == EINTR);
		results[i] = ret < 0 ? -errno : (int32_t)ret;
		counter_add(&out->singles, 1);
	}
}

static void write_batch(struct tap_out *out, unsigned count, int32_t *results)
{
	unsigned done = 0;

	for (unsigned i = 0; i < count; i++)
		uring_write(&out->uring, out->queue_index, out->iov[i], out->iov_count[i]);
	if (uring_run(&out->uring, results))
		atomic_store_explicit(&out->batching, false, memory_order_relaxed);
	for (unsigned i = 0; i < count; i++)
		done += results[i] != URING_NOT_DONE;
	counter_add(&out->batches, 1);
	counter_add(&out->batched, done);
}

/* Write what was collected, all of it, and count it. */
static void out_flush(struct tap *tap, struct worker *w, struct tap_out *out)
{
	struct port_counters *counters = &tap->port->counters[w->index];
	unsigned count = out->frame_count, frames = 0;
	int32_t results[FRAME_BURST];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		results[i] = URING_NOT_DONE;
	if (count > 1 && atomic_load_explicit(&out->batching, memory_order_relaxed))
		write_batch(out, count, results);
	write_singly(tap, out, count, results);
	for (unsigned i = 0; i < count; i++) {
		if (unlikely(results[i] < 0)) {
			port_drop(tap->port, w->index, reason_of(tap, -results[i]), 1);
			continue;
		}
		frames++;
		bytes += out->bytes[i];
	}
	out->frame_count = 0;
	out->piece_count = 0;
	counter_add(&counters->out_frames, frames);
	counter_add(&counters->out_bytes, bytes);
	counter_add(&w->source->port->counters[w->index].in_place_bytes, bytes);
}

/* The header that the kernel reads: what is left to finish, nothing else. */
static void header_make(struct virtio_net_header *h, const struct lr_offload *o)
{
	*h = (struct virtio_net_header){
		.flags = o->flags & LR_OFFLOAD_NEEDS_CSUM,
		.gso_type = o->gso_type,
		.hdr_len = le16_make(o->hdr_len),
		.gso_size = le16_make(o->gso_size),
		.csum_start = le16_make(o->csum_start),
		.csum_offset = le16_make(o->csum_offset),
	};
}

static void out_add(struct tap_out *out, const struct frame *f)
{
	struct iovec *iov = &out->pieces[out->piece_count];
	unsigned slot = out->frame_count++;

	header_make(&out->headers[slot], &f->offload);
	iov[0].iov_base = &out->headers[slot];
	iov[0].iov_len = sizeof(out->headers[slot]);
	iov[1].iov_base = f->head;
	iov[1].iov_len = f->head_bytes;
	for (unsigned i = 0; i < f->segment_count; i++) {
		iov[2 + i].iov_base = f->segments[i].data;
		iov[2 + i].iov_len = f->segments[i].bytes;
	}
	out->iov[slot] = iov;
	out->iov_count[slot] = 2u + f->segment_count;
	out->bytes[slot] = f->bytes;
	out->piece_count += 2u + f->segment_count;
}

void tap_send(struct port *p, struct worker *w, struct frame *const *frames, unsigned count)
{
	struct tap *tap = p->impl;
	struct tap_out *out = &tap->outs[w->index];

	for (unsigned i = 0; i < count; i++) {
		unsigned pieces = 2u + frames[i]->segment_count;

		if (unlikely(pieces > PIECES_MAX)) {
			port_drop(p, w->index, LR_DROP_EGRESS_ERROR, 1);
			continue;
		}
		if (unlikely(out->frame_count == FRAME_BURST ||
			     out->piece_count + pieces > TAP_PIECES))
			out_flush(tap, w, out);
		out_add(out, frames[i]);
	}
}

void tap_publish(struct port *p, struct worker *w)
{
	struct tap *tap = p->impl;
	struct tap_out *out = &tap->outs[w->index];

	if (out->frame_count)
		out_flush(tap, w, out);
}

/* In */

static struct tap_queue *queue_of_source(struct source *s)
{
	return container_of(s, struct tap_queue, source);
}

/* One frame into @f. Return: what read() does, with -errno */
static ssize_t queue_read(struct tap_queue *q, struct frame *f, uint8_t *rest,
			  struct virtio_net_header *h)
{
	struct iovec iov[] = {
		{.iov_base = h, .iov_len = sizeof(*h)},
		{.iov_base = f->room + FRAME_HEADROOM, .iov_len = FRAME_SNAPSHOT_BYTES},
		{.iov_base = rest, .iov_len = TAP_REST_BYTES},
	};
	ssize_t ret;

	do {
		ret = readv(q->fd, iov, ARRAY_SIZE(iov));
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

/* @bytes were read, header included. Return: LR_DROP_COUNT when the frame is good */
static enum lr_drop_reason frame_build(struct frame *f, struct segment *segment, uint8_t *rest,
				       const struct virtio_net_header *h, uint32_t bytes)
{
	if (bytes < sizeof(*h) + ETHERNET_BYTES)
		return LR_DROP_TX_TOO_SHORT;
	bytes -= (uint32_t)sizeof(*h);
	if (bytes > LR_PACKET_BYTES_MAX)
		return LR_DROP_TX_TOO_LONG;
	f->head = f->room + FRAME_HEADROOM;
	f->bytes = bytes;
	f->head_bytes = (uint16_t)min_u32(bytes, FRAME_SNAPSHOT_BYTES);
	f->segments = segment;
	f->segment_count = bytes > f->head_bytes;
	segment->data = rest;
	segment->bytes = bytes - f->head_bytes;
	f->lender = NULL; /* private memory */
	f->ubuf = NULL;
	f->vlan = 0;
	f->offload = (struct lr_offload){
		.flags = h->flags,
		.gso_type = h->gso_type,
		.hdr_len = le16_get(h->hdr_len),
		.gso_size = le16_get(h->gso_size),
		.csum_start = le16_get(h->csum_start),
		.csum_offset = le16_get(h->csum_offset),
	};
	if (!packet_offload_valid(&f->offload, f->head, f->head_bytes, bytes, PACKET_OFFLOAD_ALL))
		return LR_DROP_TX_OFFLOAD;
	return LR_DROP_COUNT;
}

/* Why nothing could be read. Return: a frame was lost that way, there may be more */
static bool read_failed(struct tap_queue *q, struct port_counters *counters, int error)
{
	switch (error) {
	case EAGAIN:
		return false;
	case EFAULT: /* longer than all of our buffer */
		counter_add(&counters->drops[LR_DROP_TX_TOO_LONG], 1);
		return true;
	default:
		if (error == EBADFD || error == ENODEV)
			gone_tell(q->tap);
		return false;
	}
}

static unsigned tap_recv(struct source *s, struct worker *w)
{
	struct port_counters *counters = &s->port->counters[w->index];
	struct tap_queue *q = queue_of_source(s);
	struct frame_burst *burst = &w->burst;
	struct virtio_net_header header;
	unsigned taken = 0;
	uint64_t bytes = 0;

	if (q->pause) {
		q->pause--;
		return 0;
	}
	while (taken < FRAME_BURST && bytes < BURST_BYTES) {
		struct frame *f = &burst->frames[burst->count];
		uint8_t *rest = q->rest + (size_t)burst->count * TAP_REST_BYTES;
		ssize_t ret = queue_read(q, f, rest, &header);
		enum lr_drop_reason why;

		if (ret < 0) {
			if (!read_failed(q, counters, (int)-ret))
				break;
			taken++;
			continue;
		}
		taken++;
		why = frame_build(f, &burst->segments[burst->count], rest, &header, (uint32_t)ret);
		if (unlikely(why != LR_DROP_COUNT)) {
			counter_add(&counters->drops[why], 1);
			continue;
		}
		f->slot = (uint16_t)burst->count++;
		bytes += f->bytes;
	}
	q->pauses = taken ? 0 : min_u32(2 * q->pauses + 1, PAUSE_TURNS_MAX);
	q->pause = q->pauses;
	counter_add(&counters->in_frames, taken);
	counter_add(&counters->in_bytes, bytes);
	return taken;
}

/* Nothing to give back: the frames lay in our own memory. */
static void tap_source_publish(struct source *s, struct worker *w)
{
	(void)s;
	(void)w;
}

static bool tap_arm(struct source *s)
{
	queue_of_source(s)->pause = 0;
	return false; /* readable is a level: what came meanwhile wakes us at once */
}

static void tap_disarm(struct source *s)
{
	queue_of_source(s)->pause = 0;
}

const struct source_ops tap_source_ops = {
	.recv = tap_recv,
	.publish = tap_source_publish,
	.arm = tap_arm,
	.disarm = tap_disarm,
};
