/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets: a private, writable head plus read-only frags that point into ubufs. */
#ifndef LASTREF_PACKET_H
#define LASTREF_PACKET_H

#include <lastref/pool.h>
#include <lastref/ubuf.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LR_PACKET_HEADROOM   128 /* bytes in front of a new packet's data: room for a tunnel */
#define LR_PACKET_HEAD_BYTES 512 /* whole private head: headroom + data */
#define LR_PACKET_FRAGS	     40	 /* most frags of one packet: 64 KiB in 2 KiB chunks, and some */
#define LR_PACKET_BYTES_MAX  (65535 + 18)

/* Why a frame or packet was not forwarded: name, and what it means. */
#define LR_DROP_REASONS(X)                                                                         \
	X(TX_MALFORMED, "tx-malformed", "chain or header of the sender is malformed")              \
	X(TX_TOO_LONG, "tx-too-long", "frame longer than 64 KiB, or than the MTU of the port")     \
	X(TX_TOO_SHORT, "tx-too-short", "shorter than an Ethernet header")                         \
	X(TX_OFFLOAD, "tx-offload", "offload request not negotiated or out of bounds")             \
	X(TX_DISABLED, "tx-disabled", "sent on a ring that is disabled")                           \
	X(SPOOF, "spoof", "source address is multicast, zero or not allowed here")                 \
	X(LINK_LOCAL, "link-local", "01:80:c2:00:00:00-0f is not forwarded by a bridge")           \
	X(NO_PORT, "no-port", "no other port to deliver to")                                       \
	X(SAME_PORT, "same-port", "destination is behind the port that it came from")              \
	X(RX_DOWN, "rx-down", "receiver is not running")                                           \
	X(RX_FULL, "rx-full", "receiver's ring and copy queue are full")                           \
	X(RX_BROKEN, "rx-broken", "receiver's ring is broken")                                     \
	X(RX_TOO_SMALL, "rx-too-small", "receiver's buffers cannot take the frame")                \
	X(RX_MTU, "rx-mtu", "longer than the MTU of the receiving port")                           \
	X(RX_OFFLOAD, "rx-offload", "could not be finished for a receiver without the offload")    \
	X(EGRESS_ERROR, "egress-error", "the kernel refused the frame")                            \
	X(EGRESS_FULL, "egress-full", "the device's queue is full")                                \
	X(NO_MEMORY, "no-memory", "a pool was empty")                                              \
	X(HOLD_LIMIT, "hold-limit", "held too long, and no memory to copy it")                     \
	X(PORT_GONE, "port-gone", "the port was deleted or stopped")                               \
	X(POLICY, "policy", "the application decided so")

/* clang-format off */
enum lr_drop_reason {
#define X(id, name, text) LR_DROP_##id,
	LR_DROP_REASONS(X)
#undef X
		LR_DROP_COUNT,
};
/* clang-format on */

/**
 * lr_drop_name() - The stable name of a reason, "?" when there is none such
 */
LR_API const char *lr_drop_name(unsigned reason);

/**
 * struct lr_offload - What is left to finish in a packet; virtio 1.3, 5.1.6, in host byte order
 * @flags:       LR_OFFLOAD_NEEDS_CSUM, LR_OFFLOAD_DATA_VALID
 * @gso_type:    LR_GSO_*
 * @hdr_len:     a hint only, never trusted
 * @gso_size:    payload bytes of a segment
 * @csum_start:  where the checksummed bytes begin, from the first byte of the frame
 * @csum_offset: where the checksum lies, from @csum_start
 */
struct lr_offload {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

#define LR_OFFLOAD_NEEDS_CSUM 1
#define LR_OFFLOAD_DATA_VALID 2
#define LR_GSO_NONE	      0
#define LR_GSO_TCPV4	      1
#define LR_GSO_UDP	      3
#define LR_GSO_TCPV6	      4
#define LR_GSO_UDP_L4	      5
#define LR_GSO_ECN	      0x80 /* or'ed to a TCP type */

/**
 * struct lr_frag - Read-only bytes in a lent buffer, or in a chunk of a pool
 * @ubuf: one reference is ours
 * @data: first byte; may change under us (L9)
 * @bytes: never 0
 */
struct lr_frag {
	struct lr_ubuf *ubuf;
	const uint8_t *data;
	uint32_t bytes;
};

/**
 * struct lr_packet - What outlives a turn; made and freed by one thread
 * @pool:       where it goes back to
 * @next:       for its owner's queues
 * @head:       first byte of data in the private head
 * @head_bytes: data in the private head
 * @bytes:      all data: head and frags
 * @frag_count: frags in use
 * @lent:       some frag points into memory that is not a pool's own
 * @offload:    what is left to finish
 * @user:       for its owner: arrival time, holder, ...
 * @frags:      the rest of the data
 * @room:       headroom, then data
 *
 * Members are for reading; the functions below change them.
 */
struct lr_packet {
	struct lr_pool *pool;
	struct lr_packet *next;
	uint8_t *head;
	uint32_t head_bytes;
	uint32_t bytes;
	uint16_t frag_count;
	bool lent;
	uint8_t state;
	struct lr_offload offload;
	uint64_t user[2];
	struct lr_frag frags[LR_PACKET_FRAGS];
	uint8_t room[LR_PACKET_HEAD_BYTES];
};

/**
 * lr_packet_new() - An empty packet with LR_PACKET_HEADROOM bytes of headroom
 *
 * Return: NULL when the pool is empty
 */
LR_API struct lr_packet *lr_packet_new(struct lr_pool *pool);

/**
 * lr_packet_append() - Copy @bytes of @data behind the data of the private head
 *
 * Only while the packet has no frags (asserted).
 *
 * Return: 0, -ENOSPC when the head has no room for them
 */
LR_API int lr_packet_append(struct lr_packet *p, const void *data, uint32_t bytes);

/**
 * lr_packet_attach() - Add a frag: takes one reference of @ubuf (L2)
 *
 * Return: 0, -ENOSPC when all frags are in use or the packet would be longer than
 * LR_PACKET_BYTES_MAX (nothing taken); @bytes 0: 0, nothing taken
 */
LR_API int lr_packet_attach(struct lr_packet *p, struct lr_ubuf *ubuf, const void *data,
			    uint32_t bytes);

/**
 * lr_packet_free() - Drop every reference and give the packet back. Takes @p; NULL is fine
 */
LR_API void lr_packet_free(struct lr_packet *p);

/**
 * lr_packet_drop() - lr_packet_free(), counted for @reason in the packet's pool. Takes @p
 */
LR_API void lr_packet_drop(struct lr_packet *p, enum lr_drop_reason reason);

/**
 * lr_packet_clone() - Another packet over the same frags: one reference more each, the private
 * head copied, no payload byte (L3)
 *
 * Return: NULL when @p's pool is empty: nothing changed
 */
LR_API struct lr_packet *lr_packet_clone(const struct lr_packet *p);

/**
 * lr_packet_copy() - Another packet with all bytes in @pool's memory, nothing lent
 *
 * A payload that fits behind the head takes no chunk.
 *
 * Return: NULL when @pool is empty: nothing changed
 */
LR_API struct lr_packet *lr_packet_copy(const struct lr_packet *p, struct lr_pool *pool);

/**
 * lr_packet_orphan() - Copy what is lent into the packet's own pool and drop the references
 *
 * All or nothing (L8). A payload that fits behind the head takes no chunk.
 *
 * Return: 0, -ENOMEM with the packet unchanged
 */
LR_API int lr_packet_orphan(struct lr_packet *p);

/**
 * lr_packet_headroom() - Bytes free in front of the data
 */
LR_API uint32_t lr_packet_headroom(const struct lr_packet *p);

/**
 * lr_packet_expand() - At least @bytes of headroom: moves the head's data within its room
 *
 * Frags and their references do not change (L7). Return: 0, -ENOSPC when the room is too small
 */
LR_API int lr_packet_expand(struct lr_packet *p, uint32_t bytes);

/**
 * lr_packet_push() - Grow to the front; offload.csum_start moves with its byte
 *
 * Return: the new first byte, NULL when there is less headroom (nothing changed)
 */
LR_API uint8_t *lr_packet_push(struct lr_packet *p, uint32_t bytes);

/**
 * lr_packet_pull() - Remove @bytes from the front, from head and frags (L7)
 *
 * offload.csum_start moves with its byte.
 *
 * Return: 0, -EINVAL when the packet is shorter, or when it would lose bytes that a checksum yet
 * to be finished covers (nothing changed)
 */
LR_API int lr_packet_pull(struct lr_packet *p, uint32_t bytes);

/**
 * lr_packet_trim() - Cut the packet to its first @bytes (L7)
 *
 * Return: 0, -EINVAL when the packet is shorter (nothing changed)
 */
LR_API int lr_packet_trim(struct lr_packet *p, uint32_t bytes);

/**
 * lr_packet_linearize() - The first @bytes of data in the private head
 *
 * Uses the room behind the head's data, then the headroom.
 *
 * Return: 0, -EINVAL when the packet is shorter, -ENOSPC when the head's room is (nothing changed)
 */
LR_API int lr_packet_linearize(struct lr_packet *p, uint32_t bytes);

/**
 * lr_packet_split() - Cut in two: @p keeps the first @at bytes, the rest is returned
 * @ret_rest: a packet of @p's pool; untouched on failure
 *
 * A border through a frag adds one reference (L7). 0 < @at < bytes. What ->offload says stays with
 * @p; ->user is copied.
 *
 * Return: 0, -EINVAL when @at is out of bounds, -ENOMEM; on failure nothing changed
 */
LR_API int lr_packet_split(struct lr_packet *p, uint32_t at, struct lr_packet **ret_rest);

/**
 * lr_packet_segment() - Cut a TCP GSO packet into finished segments, checksums included
 * @ret_list: chain by ->next, in order; untouched on failure
 *
 * Headers (Ethernet, up to two VLAN tags, IPv4 or IPv6 with extension headers, TCP) must lie in
 * the private head. Payload is not copied: segments share the frags. Takes @p on success only.
 * A segment's checksum is taken over bytes that the guest can change: that breaks its own frame.
 *
 * Return: number of segments, -EINVAL when headers and offload do not fit together, -ENOMEM
 */
LR_API int lr_packet_segment(struct lr_packet *p, struct lr_packet **ret_list);

/**
 * lr_packet_finish_checksum() - Compute the checksum that LR_OFFLOAD_NEEDS_CSUM left open
 *
 * The field is brought into the private head if it is not there (L9).
 *
 * Return: 0, also when nothing is left open; -EINVAL when out of bounds or beyond the head's room,
 * or when the packet must be segmented first
 */
LR_API int lr_packet_finish_checksum(struct lr_packet *p);

/**
 * lr_packet_read() - Copy @bytes from @offset on into @buffer
 *
 * Return: 0, -EINVAL when the packet is shorter
 */
LR_API int lr_packet_read(const struct lr_packet *p, uint32_t offset, void *buffer, uint32_t bytes);

/**
 * lr_checksum() - Internet checksum (RFC 1071) over @bytes of @data, folded into @sum
 *
 * Start with 0 or an earlier partial result; @odd says that an odd number of bytes came before.
 *
 * Return: 32-bit partial sum; lr_checksum_fold() finishes it: its result is stored as it is,
 * without a change of byte order
 */
LR_API uint32_t lr_checksum(const void *data, size_t bytes, uint32_t sum, bool odd);
LR_API uint16_t lr_checksum_fold(uint32_t sum);

#ifdef __cplusplus
}
#endif

#endif
