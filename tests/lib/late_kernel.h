/* SPDX-License-Identifier: BSD-2-Clause */
/* A stand-in for a kernel that keeps the pages of what it is sent, and tells later that it is done.
 *
 * Theory of operation
 *
 * No shipped port lends to the kernel. Those that will (zero-copy sends on sockets, io_uring,
 * AF_XDP) differ in how the kernel says that it is done; what they need of packets and buffers is
 * the same, and is shown with this. The "device" reads every byte at the last moment, when it is
 * told to finish: a buffer that came back too early is poisoned by then.
 *
 * The table that maps the kernel's ids back to packets is the smallest that is right: ids count up
 * and wrap at 32 bits; a slot is free, out, or abandoned at the end.
 */
#ifndef LATE_KERNEL_H
#define LATE_KERNEL_H

#include "scene.h"

#define LATE_SLOTS 16 /* a power of two: an id's low bits are its slot */

struct late_slot {
	struct lr_packet *packet; /* NULL: free */
	uint8_t *expected;	  /* its bytes when it was handed over */
	uint32_t id;
};

struct late_kernel {
	struct late_slot slots[LATE_SLOTS];
	uint32_t next_id;
	unsigned out;
	unsigned torn;	  /* packets whose bytes were not what they were */
	unsigned unknown; /* notifications of nothing that is out */
	unsigned copied;  /* notifications that said so: a remark */
};

/**
 * late_send() - The kernel has @p now, by an id of its own. Takes @p on success only
 * @ret_id: the id
 *
 * Return: 0, -ENOBUFS when all slots are out
 */
int late_send(struct late_kernel *k, struct lr_packet *p, uint32_t *ret_id);

/**
 * late_done() - The kernel is done with ids @from to @to, both included, across the wrap
 * @copied: it made a copy after all: only counted
 */
void late_done(struct late_kernel *k, uint32_t from, uint32_t to, bool copied);

/**
 * late_close() - The socket is closed and nobody will tell any more
 *
 * Return: packets that stay out for good; their buffers are never completed (L11, L13)
 */
unsigned late_close(struct late_kernel *k);

/**
 * late_reap() - End of the process: the kernel has let go of what late_close() left
 */
void late_reap(struct late_kernel *k);

#endif
