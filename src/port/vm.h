/* SPDX-License-Identifier: BSD-2-Clause */
/* The vm port's parts: vm.c (control: vhost-user device, keys, show), vm_tx.c (from the guest),
 * vm_rx.c (to the guest). Guest's words: it transmits what we receive.
 *
 * Main thread: start, stop, enable, call. A pair's transmit ring and its receive ring's upkeep
 * belong to one worker; frames are delivered into the receive ring by any worker, under its lock.
 */
#ifndef PORT_VM_H
#define PORT_VM_H

#include "base/spinlock.h"
#include "engine/engine.h"
#include "port/port.h"
#include "vhost/vhost.h"

#define VM_PAIRS_MAX	VHOST_PAIRS_MAX
#define VM_LENT_MAX	128	   /* most lent buffers of one ring; also at most ring/4 */
#define VM_COPYQ_FRAMES 1024	   /* the copying receive queue: frames ... */
#define VM_COPYQ_BYTES	(1u << 20) /* ... and bytes */

struct vm_pair;

/**
 * struct vm_port - port->impl of a vm port: what the data path sees of it
 * @pairs:   NULL until a ring of the pair starts; kept until the port goes, read by workers
 * @pair_count: pairs whose receive ring takes frames, for spreading; workers read it
 */
struct vm_port {
	struct port *port;
	struct vhost_device *device;
	uint64_t features;
	_Atomic(struct vm_pair *) pairs[VM_PAIRS_MAX];
	_Atomic unsigned pair_count;
};

/* A pair's memory is taken here, at the first ring start. Return: 0, -ENOMEM */
int vm_pair_new(struct vm_port *vm, unsigned pair_index, struct vm_pair **ret_pair);
void vm_pair_free(struct vm_pair *pair); /* both rings stopped; NULL is fine */

/**
 * vm_tx_start() - The guest's transmit ring @info runs from now on; a worker polls it
 * vm_tx_stop() - Stop polling, give up what is lent, publish (not with @peer_gone)
 *
 * Return: 0 or negative errno; the next avail index
 */
int vm_tx_start(struct vm_pair *pair, const struct vhost_ring_info *info);
uint16_t vm_tx_stop(struct vm_pair *pair, bool peer_gone);
int vm_rx_start(struct vm_pair *pair, const struct vhost_ring_info *info);
uint16_t vm_rx_stop(struct vm_pair *pair, bool peer_gone);

/* SET_VRING_ENABLE: a disabled transmit ring is processed and discarded, a disabled receive ring
 * gets nothing. */
void vm_tx_enable(struct vm_pair *pair, bool enable);
void vm_rx_enable(struct vm_pair *pair, bool enable);
void vm_tx_call(struct vm_pair *pair, int call_fd);
void vm_rx_call(struct vm_pair *pair, int call_fd);

/* Data path, the port's ops. */
void vm_send(struct port *p, struct worker *w, struct frame *const *frames, unsigned count);
void vm_publish(struct port *p, struct worker *w);
void vm_notify(struct port *p, struct worker *w);

/**
 * struct vm_pair_show - What the pair tells about itself
 * @tx_broken, @rx_broken: why the ring broke, or NULL. Main thread polls these (about every 100 ms
 *         while running, and at show) and calls vhost_device_broken()
 */
struct vm_pair_show {
	const char *tx_broken;
	const char *rx_broken;
	bool tx_running;
	bool rx_running;
	unsigned tx_size;
	unsigned rx_size;
	unsigned worker_index;
	unsigned lent_count;	 /* outstanding */
	uint64_t lent_oldest_ns; /* age of the oldest */
	unsigned copyq_frames;	 /* waiting in the copying receive queue */
	unsigned copyq_bytes;
};
void vm_pair_show(struct vm_pair *pair, struct vm_pair_show *ret_show);

#endif
