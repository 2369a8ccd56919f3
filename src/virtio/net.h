/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtio-net header as it lies in shared memory (virtio 1.3, 5.1.6). */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "base/endian.h"

struct virtio_net_header {
	uint8_t flags;
	uint8_t gso_type;
	le16 hdr_len;
	le16 gso_size;
	le16 csum_start;
	le16 csum_offset;
	le16 num_buffers; /* absent in the legacy header without MRG_RXBUF */
};

#define VIRTIO_NET_HEADER_BYTES	       12
#define VIRTIO_NET_HEADER_LEGACY_BYTES 10

/**
 * virtio_net_header_bytes() - Its size by negotiated features: 12 with VERSION_1, MRG_RXBUF or a
 * packed ring, else 10
 */
uint32_t virtio_net_header_bytes(uint64_t features);

#endif
