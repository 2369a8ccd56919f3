/* SPDX-License-Identifier: BSD-2-Clause */
/* vhost-user on the wire: headers, payloads, request and feature numbers.
 *
 * Text: docs/interop/vhost-user.rst of QEMU. Words are in the machine's own byte order.
 */
#ifndef VHOST_PROTOCOL_H
#define VHOST_PROTOCOL_H

#include <stdint.h>

enum vhost_request_id {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_LOG_BASE = 6,
	VHOST_SET_LOG_FD = 7,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_SEND_RARP = 19,
	VHOST_NET_SET_MTU = 20,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_RESET_DEVICE = 34,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_SET_STATUS = 39,
	VHOST_GET_STATUS = 40,
	VHOST_REQUEST_COUNT,
};

#define VHOST_PROTOCOL_MQ		   (1ull << 0)
#define VHOST_PROTOCOL_RARP		   (1ull << 2)
#define VHOST_PROTOCOL_REPLY_ACK	   (1ull << 3)
#define VHOST_PROTOCOL_MTU		   (1ull << 4)
#define VHOST_PROTOCOL_CONFIG		   (1ull << 9)
#define VHOST_PROTOCOL_RESET_DEVICE	   (1ull << 13)
#define VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS (1ull << 15)
#define VHOST_PROTOCOL_STATUS		   (1ull << 16)

#define VHOST_VERSION	      1u
#define VHOST_VERSION_MASK    3u
#define VHOST_FLAG_REPLY      (1u << 2)
#define VHOST_FLAG_NEED_REPLY (1u << 3)

#define VHOST_RING_INDEX_MASK  0xffu	   /* of SET_VRING_KICK, CALL, ERR */
#define VHOST_RING_NO_FD       (1ull << 8) /* likewise: no fd comes with it */
#define VHOST_STATUS_DRIVER_OK 4u

#define VHOST_FDS_MAX	       8 /* of one message: the most regions of SET_MEM_TABLE */
#define VHOST_PAYLOAD_MAX      1024
#define VHOST_CONFIG_BYTES_MAX 256

struct vhost_header {
	uint32_t request;
	uint32_t flags;
	uint32_t payload_bytes;
};

struct vhost_ring_state {
	uint32_t index;
	uint32_t value;
};

struct vhost_ring_addresses {
	uint32_t index;
	uint32_t flags; /* bit 0: log writes to the used ring; not offered */
	uint64_t desc;	/* addresses in the front-end's own address space */
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vhost_wire_region {
	uint64_t guest;
	uint64_t bytes;
	uint64_t user;
	uint64_t mmap_offset;
};

struct vhost_wire_table {
	uint32_t count;
	uint32_t padding;
	struct vhost_wire_region regions[VHOST_FDS_MAX];
};

struct vhost_wire_one_region {
	uint64_t padding;
	struct vhost_wire_region region;
};

struct vhost_wire_config {
	uint32_t offset;
	uint32_t bytes;
	uint32_t flags;
	uint8_t data[VHOST_CONFIG_BYTES_MAX];
};

/* What GET_CONFIG shows a part of: struct virtio_net_config (virtio 1.3, 5.1.4). */
struct vhost_net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t pairs_max;
	uint16_t mtu;
};

union vhost_payload {
	uint64_t u64;
	struct vhost_ring_state state;
	struct vhost_ring_addresses addresses;
	struct vhost_wire_table table;
	struct vhost_wire_one_region one_region;
	struct vhost_wire_config config;
	uint8_t bytes[VHOST_PAYLOAD_MAX];
};

#endif
