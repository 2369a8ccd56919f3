/* SPDX-License-Identifier: BSD-2-Clause */
/* The tap port's parts: tap.c (control: the device, its life, show), tap_io.c (frames).
 *
 * From the switch's side: "in" is what the host's kernel transmits on the device and we read, "out"
 * is what we write and the kernel receives.
 */
#ifndef PORT_TAP_H
#define PORT_TAP_H

#include <sys/uio.h>

#include "engine/engine.h"
#include "port/port.h"
#include "port/uring.h"
#include "virtio/net.h"

#define TAP_QUEUES_MAX 16

/* Room for what lies behind the snapshot of a frame. No multiple of a page: the first lines of all
 * buffers would share few sets of the caches. */
#define TAP_REST_BYTES 67200

/* Pieces of one burst: those of its frames, a header and a head each. */
#define TAP_PIECES (FRAME_BURST_SEGMENTS + 2 * FRAME_BURST)

struct tap;

/**
 * struct tap_queue - A queue of the device: what a worker reads from
 * @fd:     -1 while there is no device
 * @rest:   FRAME_BURST buffers of TAP_REST_BYTES
 * @pause:  turns until it is looked at again
 * @pauses: how many those were the last time: 0 when there was something
 */
struct tap_queue {
	struct source source;
	struct tap *tap;
	int fd;
	uint8_t *rest;
	unsigned pause;
	unsigned pauses;
};

/**
 * struct tap_out - A worker's way out: what send() collected for publish()
 * @queue_index: that it writes to: one that the worker reads, so that the kernel sends the answers
 *               of a flow to the same worker
 * @batching:    @uring is open and works
 * @batches:     system calls that wrote several frames
 * @batched:     frames that they wrote
 * @singles:     frames that took a system call each
 */
struct tap_out {
	struct uring uring;
	unsigned queue_index;
	_Atomic bool batching;
	unsigned frame_count;
	unsigned piece_count;
	struct iovec pieces[TAP_PIECES];
	struct iovec *iov[FRAME_BURST];
	unsigned iov_count[FRAME_BURST];
	uint32_t bytes[FRAME_BURST];
	struct virtio_net_header headers[FRAME_BURST];
	struct counter batches;
	struct counter batched;
	struct counter singles;
} CACHE_ALIGNED;

/**
 * struct tap - port->impl
 * @gone:    the device was deleted: set by the first worker that sees it, which writes @gone_fd
 * @gone_fd: wakes the main thread
 */
struct tap {
	struct port *port;
	unsigned queue_count;
	unsigned worker_count;
	_Atomic bool gone;
	int gone_fd;
	struct tap_queue queues[TAP_QUEUES_MAX];
	struct tap_out *outs;	     /* by worker */
	struct tap_control *control; /* tap.c's own */
};

extern const struct source_ops tap_source_ops;

void tap_send(struct port *p, struct worker *w, struct frame *const *frames, unsigned count);
void tap_publish(struct port *p, struct worker *w);

#endif
