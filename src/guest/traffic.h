/* SPDX-License-Identifier: BSD-2-Clause */
/* Test traffic: frames that say who sent them, to whom, which one, and carry a pattern. */
#ifndef GUEST_TRAFFIC_H
#define GUEST_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/driver.h"

/* IEEE's EtherType for local experiments. */
#define TRAFFIC_ETHERTYPE   0x88b5
#define TRAFFIC_FRAME_MIN   34 /* Ethernet header and ours */
#define TRAFFIC_FRAME_MAX   (65535 + 14)
#define TRAFFIC_BROADCAST   0xffff /* receiver: everybody */
#define TRAFFIC_STREAMS_MAX 64

/**
 * struct traffic_header - Behind the Ethernet header
 * @magic:    TRAFFIC_MAGIC
 * @sender, @receiver: guests' numbers; their MACs follow from them
 * @bytes:    of the whole frame; a switch may pad short ones
 * @sequence: counted per (sender, receiver)
 *
 * The rest is a pattern that follows from all of these. Little-endian.
 */
struct traffic_header {
	le32 magic;
	le16 sender;
	le16 receiver;
	le32 bytes;
	le64 sequence;
} __attribute__((packed));

#define TRAFFIC_MAGIC 0x6c726566

/**
 * traffic_mac() - The MAC of guest @number; all ones for TRAFFIC_BROADCAST
 */
void traffic_mac(uint16_t number, uint8_t ret_mac[6]);

/**
 * traffic_write() - A whole frame of @bytes (at least TRAFFIC_FRAME_MIN)
 */
void traffic_write(uint8_t *frame, uint32_t bytes, uint16_t sender, uint16_t receiver,
		   uint64_t sequence);

/**
 * enum traffic_verdict - What a received frame is
 * @OTHER: not test traffic
 * @GOOD:  every byte is as it was written
 * @BAD:   test traffic, but something differs
 */
enum traffic_verdict {
	TRAFFIC_OTHER,
	TRAFFIC_GOOD,
	TRAFFIC_BAD,
};

/**
 * struct traffic_id - What a frame says about itself
 */
struct traffic_id {
	uint16_t sender;
	uint16_t receiver;
	uint32_t bytes;
	uint64_t sequence;
};

/**
 * traffic_check() - Look at a received frame
 * @whole:  compare every byte; else the headers only
 * @ret_id: set when TRAFFIC_GOOD
 */
enum traffic_verdict traffic_check(const struct guest_rx_frame *frame, bool whole,
				   struct traffic_id *ret_id);

#define TRAFFIC_WINDOW 65536 /* how far back a late frame is told from a doubled one */

/**
 * struct traffic_stream - What arrived from one sender for one receiver
 * @next:       the sequence number after the highest seen
 * @received:   frames, doubled ones not counted
 * @lost:       numbers below @next that did not arrive (yet)
 * @duplicated: arrived again, or later than the window can tell
 * @reordered:  arrived after a higher one
 * @seen:       one bit per number in the window
 */
struct traffic_stream {
	uint16_t sender;
	uint16_t receiver;
	uint64_t next;
	uint64_t received;
	uint64_t lost;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t seen[TRAFFIC_WINDOW / 64];
};

/**
 * traffic_arrived() - Account for one good frame
 */
void traffic_arrived(struct traffic_stream *s, uint64_t sequence);

/**
 * struct traffic_streams - All streams of one receiver
 */
struct traffic_streams {
	unsigned count;
	struct traffic_stream *streams[TRAFFIC_STREAMS_MAX];
};

/**
 * traffic_stream() - The stream of @sender and @receiver; made when it is new
 *
 * Return: NULL when there are too many, or no memory
 */
struct traffic_stream *traffic_stream(struct traffic_streams *all, uint16_t sender,
				      uint16_t receiver);

/**
 * traffic_streams_fini() - Forget all of them
 */
void traffic_streams_fini(struct traffic_streams *all);

#endif
