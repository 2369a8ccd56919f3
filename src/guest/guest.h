/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole guest: memory, driver, front-end, a MAC, and traffic that is checked. */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "guest/driver.h"
#include "guest/frontend.h"
#include "guest/histogram.h"
#include "guest/traffic.h"

#define GUEST_PAIRS_MAX 8

/* Everything that our driver can do. */
#define GUEST_FEATURES_ALL                                                                         \
	(GUEST_F_VERSION_1 | GUEST_F_INDIRECT | GUEST_F_EVENT_IDX | GUEST_F_IN_ORDER |             \
	 GUEST_F_MRG_RXBUF | GUEST_F_MQ)
#define GUEST_PROTOCOL_ALL                                                                         \
	(FRONTEND_P_MQ | FRONTEND_P_REPLY_ACK | FRONTEND_P_MTU | FRONTEND_P_STATUS |               \
	 FRONTEND_P_MEM_SLOTS | FRONTEND_P_RESET_DEVICE | FRONTEND_P_RARP)

/**
 * struct guest_options - A guest; zero means what is said in brackets
 * @path:        the vhost-user socket
 * @listen:      we listen there and the switch connects
 * @wait_ms:     how long to wait for the switch [10,000]
 * @number:      sender's number in the traffic; its MAC is traffic_mac()'s
 * @features:    wanted, of GUEST_F_* [GUEST_FEATURES_ALL without IN_ORDER]
 * @protocol:    wanted, of FRONTEND_P_* [GUEST_PROTOCOL_ALL]
 * @memory:      regions and so on; @memory.bytes [what the queues need]
 * @pairs:       queue pairs [1]
 * @ring_size:   [256]
 * @tx_indirect: as in struct guest_tx_options, used when INDIRECT was negotiated
 * @tx_pieces:   descriptors per frame, the header's own not counted [1]
 * @header_apart: the header has a descriptor of its own, both ways
 * @poison:      overwrite transmit buffers when they come back
 * @frame_bytes: largest frame to send [2048]
 * @rx_buffer_bytes: [2048 with MRG_RXBUF, else the header and @frame_bytes]
 * @rx_pieces:   descriptors per receive buffer [1]
 * @headers_only: do not compare every byte of received frames
 * @mtu:         told by NET_SET_MTU; 0: not told
 * @other, @context: called with each received frame that is not our traffic; may be NULL
 */
struct guest_options {
	const char *path;
	bool listen;
	int wait_ms;
	uint16_t number;
	uint64_t features;
	uint64_t protocol;
	struct guest_memory_options memory;
	unsigned pairs;
	uint32_t ring_size;
	enum guest_indirect tx_indirect;
	uint16_t tx_pieces;
	bool header_apart;
	bool poison;
	uint32_t frame_bytes;
	uint32_t rx_buffer_bytes;
	uint16_t rx_pieces;
	bool headers_only;
	uint16_t mtu;
	void (*other)(void *context, const struct guest_rx_frame *frame);
	void *context;
};

/**
 * struct guest_stats - Counted by the guest
 * @sent, @sent_bytes: posted
 * @returned:    of these, given back
 * @full:        times that the ring or the buffers were used up
 * @received, @received_bytes: good frames for us
 * @bad:         test traffic with a wrong byte, or for nobody
 * @poisoned:    of these, with the poison of a buffer that was given back too early
 * @foreign:     good frames for another guest, as a flooding switch delivers
 * @other:       not test traffic
 * @lost, @duplicated, @reordered: sums over all streams
 * @kicks, @interrupts: eventfds written, and read
 */
struct guest_stats {
	uint64_t sent;
	uint64_t sent_bytes;
	uint64_t returned;
	uint64_t full;
	uint64_t received;
	uint64_t received_bytes;
	uint64_t bad;
	uint64_t poisoned;
	uint64_t foreign;
	uint64_t other;
	uint64_t lost;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t kicks;
	uint64_t interrupts;
};

/**
 * struct guest_pair - One queue pair
 * @rx_base, @tx_base: where each begins when started
 * @timed, @timed_since_ns: buffer whose time away is being taken (-1: none), and its start
 */
struct guest_pair {
	struct guest_rx rx;
	struct guest_tx tx;
	struct guest_slab buffers;
	uint16_t rx_base;
	uint16_t tx_base;
	int64_t timed;
	uint64_t timed_since_ns;
};

/**
 * struct guest - One guest; one thread at a time
 * @away: from post to return, of one transmit buffer per pair at a time
 */
struct guest {
	struct guest_options options;
	struct guest_memory memory;
	struct frontend frontend;
	unsigned pair_count;
	struct guest_pair pairs[GUEST_PAIRS_MAX];
	bool running;
	uint8_t mac[6];
	uint64_t next_sequence[TRAFFIC_STREAMS_MAX]; /* by receiver */
	uint16_t receivers[TRAFFIC_STREAMS_MAX];
	unsigned receiver_count;
	struct traffic_streams streams;
	struct guest_stats stats;
	struct histogram away;
	struct errmsg err;
};

/**
 * guest_open() - Connect, negotiate, make memory and queues. The rings do not run yet
 *
 * Return: 0, or negative errno with g->err set and nothing left open
 */
int guest_open(struct guest *g, const struct guest_options *options);

/**
 * guest_close() - Disconnect and free everything. Harmless when repeated, or on a zeroed guest
 */
void guest_close(struct guest *g);

/**
 * guest_start() - Tell memory and rings, fill the receive rings, enable; returns when all was heard
 */
int guest_start(struct guest *g);

/**
 * guest_stop() - Stop all rings, take back what the switch returns; check where it stood
 *
 * Afterwards no buffer that the switch had begun is out. guest_start() goes on from there.
 */
int guest_stop(struct guest *g);

/**
 * guest_reconnect() - The switch is gone: wait for it, go on where the used rings say
 *
 * -EREMOTEIO when it doesn't offer what was negotiated before.
 */
int guest_reconnect(struct guest *g, int wait_ms);

/**
 * guest_send_frame() - Post one frame of test traffic to guest @receiver, or TRAFFIC_BROADCAST
 * @pair:  on which transmit ring
 *
 * Return: 0, -ENOSPC when ring or buffers are used up, -EIO after a fault. guest_flush() shows it.
 */
int guest_send_frame(struct guest *g, unsigned pair, uint16_t receiver, uint32_t bytes);

/**
 * guest_send_bytes() - Post any frame, with any header
 * @offload: NULL: none
 */
int guest_send_bytes(struct guest *g, unsigned pair, const void *frame, uint32_t bytes,
		     const struct guest_offload *offload);

/**
 * guest_flush() - Show the switch what was posted, kick where it wants that
 */
void guest_flush(struct guest *g);

/**
 * guest_poll() - Take back sent buffers, receive and check up to @budget frames, repost, flush
 *
 * Return: frames received and buffers taken back
 */
uint32_t guest_poll(struct guest *g, uint32_t budget);

/**
 * guest_wait() - Sleep until something came back or arrived, at most @timeout_ms
 *
 * Return: true when there is something to poll
 */
bool guest_wait(struct guest *g, int timeout_ms);

/**
 * guest_fault() - The first ring that the switch mistreated: what it did; NULL when none
 */
const char *guest_fault(const struct guest *g);

/**
 * guest_missing() - Frames that @sender sent to @receiver, or to everybody, that never arrived
 */
uint64_t guest_missing(const struct guest *receiver, const struct guest *sender);

/**
 * guest_out_count() - Transmit buffers that are with the switch
 */
uint32_t guest_out_count(const struct guest *g);

#endif
