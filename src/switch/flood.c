/* SPDX-License-Identifier: BSD-2-Clause */
/* Flooding: broadcast, multicast and what nobody has been seen under.
 *
 * Every port that delivers in the turn reads the frame where it lies: no clone, no count. The list
 * of ports is made once a burst.
 */
#include "switch/internal.h"

static void ports_list(struct bridge *br, struct bridge_worker *bw, const struct port *in)
{
	unsigned limit = atomic_load_explicit(&br->port_limit, memory_order_acquire);

	bw->flood_count = 0;
	for (unsigned i = 0; i < limit; i++) {
		const struct port *p = port_at(br, i);

		if (p && p != in && port_is_running(p))
			bw->flood[bw->flood_count++] = (uint16_t)i;
	}
	bw->flood_ready = true;
}

void flood_frame(struct bridge *br, struct worker *w, struct frame *f)
{
	struct bridge_worker *bw = w->bridge_private;

	if (!bw->flood_ready)
		ports_list(br, bw, bw->in);
	if (bw->flood_count == 0) {
		port_drop(bw->in, w->index, LR_DROP_NO_PORT, 1);
		return;
	}
	for (unsigned i = 0; i < bw->flood_count; i++)
		worker_output(w, bw->flood[i], f);
	counter_add(&bw->counters.flooded, 1);
	counter_add(&bw->counters.flood_copies, bw->flood_count - 1);
}
