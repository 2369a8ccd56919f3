/* SPDX-License-Identifier: BSD-2-Clause */
/* A stand-in for a kernel that keeps the pages of what it is sent, and tells later. */
#include "late_kernel.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

int late_send(struct late_kernel *k, struct lr_packet *p, uint32_t *ret_id)
{
	struct late_slot *slot = &k->slots[k->next_id % LATE_SLOTS];

	if (slot->packet)
		return -ENOBUFS;
	*slot = (struct late_slot){.packet = p, .expected = scene_bytes(p), .id = k->next_id};
	*ret_id = k->next_id++;
	k->out++;
	return 0;
}

/* The device reads, now, and lets go. */
static void slot_finish(struct late_kernel *k, struct late_slot *slot)
{
	k->torn += !scene_is(slot->packet, slot->expected, slot->packet->bytes);
	free(slot->expected);
	lr_packet_free(slot->packet);
	*slot = (struct late_slot){0};
	ASSERT(k->out > 0);
	k->out--;
}

void late_done(struct late_kernel *k, uint32_t from, uint32_t to, bool copied)
{
	uint32_t count = to - from;

	/* A range is believed as far as there are slots: no loop over what somebody says. */
	if (count >= LATE_SLOTS) {
		k->unknown++;
		return;
	}
	for (uint32_t i = 0; i <= count; i++) {
		struct late_slot *slot = &k->slots[(from + i) % LATE_SLOTS];

		if (slot->packet && slot->id == from + i) {
			k->copied += copied;
			slot_finish(k, slot);
		} else {
			k->unknown++;
		}
	}
}

unsigned late_close(struct late_kernel *k)
{
	return k->out;
}

void late_reap(struct late_kernel *k)
{
	for (unsigned i = 0; i < LATE_SLOTS; i++)
		if (k->slots[i].packet)
			slot_finish(k, &k->slots[i]);
}
