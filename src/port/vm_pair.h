/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue pair of a vm port: what vm_tx.c and vm_rx.c share. */
#ifndef PORT_VM_PAIR_H
#define PORT_VM_PAIR_H

#include "port/copyq.h"
#include "port/vm.h"
#include "virtio/net.h"

#define VM_RX_CHAINS   64   /* receive chains popped ahead */
#define VM_RX_SEGMENTS 1280 /* their segments: 64 chains of 19 and some */

/**
 * struct vm_lent - A transmit buffer that outlived its turn
 * @ubuf:       first, so that completion finds us
 * @generation: of the ring that it came from (L12)
 * @table:      keeps its memory mapped (L11)
 * @next:       on the free list
 */
struct vm_lent {
	struct lr_ubuf ubuf;
	struct vm_pair *pair;
	struct vm_lent *next;
	struct mem_table *table;
	uint64_t since_ns;
	uint32_t generation;
	uint16_t head;
	bool out;
};

/**
 * struct vm_tx - From the guest; its worker only
 * @chains:     the burst as popped; a frame's slot is its index here
 * @held:       bit per chain: lent beyond the turn
 * @done:       heads that completed and wait for publication
 * @likely:     index of the port that the last burst went to, -1: several or none; only a hint
 * @prepared:   pair whose receive ring was locked for this burst because of it
 */
struct vm_tx {
	struct virtio_ring ring;
	_Atomic bool running;
	_Atomic bool enabled;
	_Atomic int call_fd;
	int kick_fd;
	uint32_t header_bytes;
	unsigned offloads_allowed;
	bool published;
	unsigned chain_count;
	uint64_t held;
	struct virtio_chain chains[FRAME_BURST];
	int likely;
	struct vm_pair *prepared;
	struct frame_lender lender;
	uint32_t generation;
	unsigned lent_count;
	unsigned lent_quota;
	struct vm_lent *lent_free;
	struct vm_lent lent[VM_LENT_MAX];
	unsigned done_count;
	uint16_t done[VM_LENT_MAX];
};

/**
 * struct vm_rx - To the guest; whoever has @lock
 * @owner:  the worker that has the lock in this burst
 * @ready:  running and enabled: frames may be delivered
 * @chains: popped ahead, from @first on; their segments likewise
 */
struct vm_rx {
	struct spinlock lock;
	_Atomic(struct worker *) owner;
	_Atomic bool ready;
	_Atomic bool enabled;
	bool running;
	_Atomic int call_fd;
	int kick_fd;
	bool mergeable;
	bool published;
	bool appended; /* to the copy queue in this burst */
	uint32_t header_bytes;
	struct virtio_ring ring;
	unsigned first;
	unsigned count;
	struct virtio_chain chains[VM_RX_CHAINS];
	struct segment segments[VM_RX_SEGMENTS];
};

struct vm_pair {
	struct vm_port *vm;
	struct source source;
	bool attached;
	struct vm_tx tx;
	struct vm_rx rx CACHE_ALIGNED;
	struct copyq copyq;
};

/* vm_rx.c, used by vm_tx.c. */

/* @p will likely get this burst: lock its receive ring and fetch buffers for @count frames.
 * Return: the pair that was locked, NULL: none, @p need not be a vm port */
struct vm_pair *vm_rx_prepare(struct port *p, struct worker *w, unsigned count);
/* Drop the lock if this worker still has it: nothing was delivered. */
void vm_rx_release(struct vm_pair *pair, struct worker *w);
/* Move waiting frames into the ring, publish, call. Return: frames moved */
unsigned vm_rx_drain(struct vm_pair *pair, struct worker *w);
/* About to sleep: the copy queue needs a kick of the receive ring. Return: work is there */
bool vm_rx_arm(struct vm_pair *pair);
void vm_rx_disarm(struct vm_pair *pair);

/* vm_tx.c: the pair's source follows which rings run. */
void vm_pair_attach(struct vm_pair *pair);
void vm_pair_detach(struct vm_pair *pair);

#endif
