/* SPDX-License-Identifier: BSD-2-Clause */
/* Size of the virtio-net header by negotiated features. */
#include "virtio/net.h"
#include "virtio/ring.h"

uint32_t virtio_net_header_bytes(uint64_t features)
{
	if (features & (VIRTIO_VERSION_1 | VIRTIO_NET_MRG_RXBUF | VIRTIO_PACKED))
		return VIRTIO_NET_HEADER_BYTES;
	return VIRTIO_NET_HEADER_LEGACY_BYTES;
}
