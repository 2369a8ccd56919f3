/* SPDX-License-Identifier: BSD-2-Clause */
/* A port that keeps what it is sent: completes late, out of order, in bursts, or never. */
#ifndef HOLDER_PORT_H
#define HOLDER_PORT_H

#include "port/port.h"
#include "rig.h"

extern const struct port_ops holder_port_ops;

enum holder_order {
	HOLDER_FIFO,
	HOLDER_LIFO,
	HOLDER_SHUFFLE,
};

/* What a broken port would do, for canaries. */
enum holder_plant {
	HOLDER_HONEST,
	HOLDER_KEEPS_BORROWED, /* looks at a frame after its turn (breaks L1) */
};

/**
 * holder_configure() - How it behaves from now on
 * @expected_ns: what it predicts for every frame
 */
void holder_configure(struct port *p, struct rig *rig, uint64_t expected_ns,
		      enum holder_plant plant);

/**
 * holder_release() - Check and free up to @count held packets of worker @w
 *
 * Return: how many
 */
unsigned holder_release(struct port *p, struct worker *w, unsigned count, enum holder_order order,
			uint64_t random);

unsigned holder_count(struct port *p, unsigned worker_index);

/* Of what is held, how many are lent. */
unsigned holder_lent(struct port *p, unsigned worker_index);

#endif
