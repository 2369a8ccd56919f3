/* SPDX-License-Identifier: BSD-2-Clause */
/* What split and packed rings share: start, stop, and the book of taken heads. */
#include "virtio/ring.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

int virtio_ring_start(struct virtio_ring *ring, enum virtio_direction direction,
		      const struct virtio_ring_config *config)
{
	uint8_t *taken;

	if (config->features & VIRTIO_PACKED)
		return -EINVAL; /* never offered */
	if (config->size == 0 || config->size > VIRTIO_RING_SIZE_MAX)
		return -EINVAL;
	if (config->size & (config->size - 1))
		return -EINVAL;
	taken = calloc(config->size, 1);
	if (!taken)
		return -ENOMEM;

	*ring = (struct virtio_ring){
		.desc = config->desc,
		.avail = config->avail,
		.used = config->used,
		.mem = mem_table_get(config->mem),
		.size = (uint16_t)config->size,
		.mask = (uint16_t)(config->size - 1),
		.direction = direction,
		.event_idx = config->features & VIRTIO_EVENT_IDX,
		.in_order = config->features & VIRTIO_IN_ORDER,
		.indirect = config->features & VIRTIO_INDIRECT,
		.avail_next = config->base,
		.avail_seen = config->base,
		.taken = taken,
	};
	ring->used_next = mem_load16(&ring->used->index);
	ring->used_published = ring->used_next;
	virtio_ring_disable_kicks(ring);
	return 0;
}

uint16_t virtio_ring_stop(struct virtio_ring *ring)
{
	uint16_t next = ring->avail_next;

	free(ring->taken);
	mem_table_put(ring->mem);
	*ring = (struct virtio_ring){.avail_next = next, .avail_seen = next};
	return next;
}

void virtio_ring_break(struct virtio_ring *ring, const char *why)
{
	if (!atomic_load_explicit(&ring->broken, memory_order_relaxed))
		atomic_store_explicit(&ring->broken, why, memory_order_release);
}
