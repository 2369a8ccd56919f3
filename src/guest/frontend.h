/* SPDX-License-Identifier: BSD-2-Clause */
/* A vhost-user front-end: what a VMM says to a switch (QEMU's docs/interop/vhost-user.rst). */
#ifndef GUEST_FRONTEND_H
#define GUEST_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/errmsg.h"
#include "guest/features.h"
#include "guest/memory.h"
#include "guest/ring.h"

/* Requests: name, number. */
#define FRONTEND_REQUESTS(X)                                                                       \
	X(GET_FEATURES, 1)                                                                         \
	X(SET_FEATURES, 2)                                                                         \
	X(SET_OWNER, 3)                                                                            \
	X(RESET_OWNER, 4)                                                                          \
	X(SET_MEM_TABLE, 5)                                                                        \
	X(SET_LOG_BASE, 6)                                                                         \
	X(SET_LOG_FD, 7)                                                                           \
	X(SET_VRING_NUM, 8)                                                                        \
	X(SET_VRING_ADDR, 9)                                                                       \
	X(SET_VRING_BASE, 10)                                                                      \
	X(GET_VRING_BASE, 11)                                                                      \
	X(SET_VRING_KICK, 12)                                                                      \
	X(SET_VRING_CALL, 13)                                                                      \
	X(SET_VRING_ERR, 14)                                                                       \
	X(GET_PROTOCOL_FEATURES, 15)                                                               \
	X(SET_PROTOCOL_FEATURES, 16)                                                               \
	X(GET_QUEUE_NUM, 17)                                                                       \
	X(SET_VRING_ENABLE, 18)                                                                    \
	X(SEND_RARP, 19)                                                                           \
	X(NET_SET_MTU, 20)                                                                         \
	X(SET_BACKEND_REQ_FD, 21)                                                                  \
	X(GET_CONFIG, 24)                                                                          \
	X(SET_CONFIG, 25)                                                                          \
	X(GET_INFLIGHT_FD, 31)                                                                     \
	X(SET_INFLIGHT_FD, 32)                                                                     \
	X(RESET_DEVICE, 34)                                                                        \
	X(GET_MAX_MEM_SLOTS, 36)                                                                   \
	X(ADD_MEM_REG, 37)                                                                         \
	X(REM_MEM_REG, 38)                                                                         \
	X(SET_STATUS, 39)                                                                          \
	X(GET_STATUS, 40)

enum frontend_request {
#define X(name, number) FRONTEND_##name = number,
	FRONTEND_REQUESTS(X)
#undef X
};

/* Flags of a message. */
#define FRONTEND_VERSION    1u
#define FRONTEND_REPLY	    4u
#define FRONTEND_NEED_REPLY 8u

/* Protocol features. */
#define FRONTEND_P(bit)		  (1ull << (bit))
#define FRONTEND_P_MQ		  FRONTEND_P(0)
#define FRONTEND_P_LOG_SHMFD	  FRONTEND_P(1)
#define FRONTEND_P_RARP		  FRONTEND_P(2)
#define FRONTEND_P_REPLY_ACK	  FRONTEND_P(3)
#define FRONTEND_P_MTU		  FRONTEND_P(4)
#define FRONTEND_P_CONFIG	  FRONTEND_P(9)
#define FRONTEND_P_INFLIGHT_SHMFD FRONTEND_P(12)
#define FRONTEND_P_RESET_DEVICE	  FRONTEND_P(13)
#define FRONTEND_P_MEM_SLOTS	  FRONTEND_P(15)
#define FRONTEND_P_STATUS	  FRONTEND_P(16)

/* Bits of a SET_VRING_KICK/CALL/ERR payload. */
#define FRONTEND_NOFD 0x100u

/* Device status: virtio 1.3, 2.1. */
#define FRONTEND_STATUS_ACKNOWLEDGE 1
#define FRONTEND_STATUS_DRIVER	    2
#define FRONTEND_STATUS_DRIVER_OK   4
#define FRONTEND_STATUS_FEATURES_OK 8

#define FRONTEND_VRINGS_MAX  64
#define FRONTEND_TABLE_MAX   8 /* most regions of a SET_MEM_TABLE */
#define FRONTEND_TIMEOUT_MS  5000
#define FRONTEND_PAYLOAD_MAX 4096

struct frontend_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

struct frontend_vring_state {
	uint32_t index;
	uint32_t num;
};

struct frontend_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct frontend_region {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t uva;
	uint64_t offset_bytes;
};

struct frontend_mem_table {
	uint32_t count;
	uint32_t padding;
	struct frontend_region regions[FRONTEND_TABLE_MAX];
};

struct frontend_mem_reg {
	uint64_t padding;
	struct frontend_region region;
};

/**
 * struct frontend_vring - One ring's notifications
 * @kick: eventfd that we write, -1 while the ring isn't set up
 * @call: eventfd that the back-end writes
 * @err:  eventfd that the back-end writes when it gave the ring up
 */
struct frontend_vring {
	int kick;
	int call;
	int err;
};

/**
 * struct frontend - One connection
 * @fd:         the socket, -1 while there is none
 * @listen_fd:  where we listen, -1 when it is us who connect
 * @address:    the socket's path
 * @timeout_ms: longest wait for one answer; may be changed at any time
 * @offered, @features:  virtio feature bits of the back-end, and those set
 * @protocol_offered, @protocol: the same for vhost-user's own
 * @queue_pairs: most queue pairs, as the back-end says; 1 without MQ
 * @mem_slots:  most memory regions
 * @memory:     what set_memory told, so that regions can be removed again; NULL before
 * @vrings:     notifications
 * @err:        what went wrong last
 *
 * One thread at a time; frontend_kick() and reading call eventfds may be another thread's.
 * Every function that returns int returns 0 or more when it worked, else negative errno with @err
 * set: -ETIMEDOUT no answer in time, -ECONNRESET the back-end closed, -EPROTO an answer that makes
 * no sense, -EREMOTEIO the back-end refused.
 */
struct frontend {
	int fd;
	int listen_fd;
	struct sockaddr_un address;
	int timeout_ms;
	uint64_t offered;
	uint64_t features;
	uint64_t protocol_offered;
	uint64_t protocol;
	uint32_t queue_pairs;
	uint32_t mem_slots;
	const struct guest_memory *memory;
	struct frontend_vring vrings[FRONTEND_VRINGS_MAX];
	struct errmsg err;
};

/**
 * frontend_init() - Nothing is open yet
 */
void frontend_init(struct frontend *f);

/**
 * frontend_connect() - Connect to the back-end at @path
 * @wait_ms: how long to try again while nobody listens there; 0: once
 */
int frontend_connect(struct frontend *f, const char *path, int wait_ms);

/**
 * frontend_listen() - Make the socket @path, for a back-end that connects; it must not exist
 */
int frontend_listen(struct frontend *f, const char *path);

/**
 * frontend_accept() - Wait for the back-end at most @wait_ms
 */
int frontend_accept(struct frontend *f, int wait_ms);

/**
 * frontend_adopt() - Use a socket that is connected already; takes @fd
 */
void frontend_adopt(struct frontend *f, int fd);

/**
 * frontend_disconnect() - Close the connection and forget what was negotiated
 *
 * A listening socket and the rings' eventfds stay.
 */
void frontend_disconnect(struct frontend *f);

/**
 * frontend_reopen() - Disconnect, then connect or accept once more, waiting at most @wait_ms
 *
 * Negotiation, memory and rings are to be set up again; guest_ring_used_idx() says where.
 */
int frontend_reopen(struct frontend *f, int wait_ms);

/**
 * frontend_fini() - Close everything, remove a listening socket's path. Harmless when repeated
 */
void frontend_fini(struct frontend *f);

/**
 * frontend_is_alive() - Whether the back-end still holds its end; doesn't wait
 */
bool frontend_is_alive(const struct frontend *f);

/**
 * frontend_send_bytes() - Any bytes, right or wrong
 * @fds: @fd_count descriptors that go with the first byte; stay the caller's
 */
int frontend_send_bytes(struct frontend *f, const void *bytes, size_t count, const int *fds,
			unsigned fd_count);

/**
 * frontend_send_raw() - One message, as given; @flags with the version
 */
int frontend_send_raw(struct frontend *f, uint32_t request, uint32_t flags, const void *payload,
		      uint32_t size, const int *fds, unsigned fd_count);

/**
 * frontend_recv_reply() - Wait for one answer
 * @request:  what it must answer; 0: anything
 * @payload:  room for @size bytes
 * @ret_size: how long the answer's payload is; may be NULL: then it must be @size
 * @ret_fd:   a descriptor that came with it, -1 without; NULL: is closed
 */
int frontend_recv_reply(struct frontend *f, uint32_t request, void *payload, uint32_t size,
			uint32_t *ret_size, int *ret_fd);

/**
 * frontend_send() - A request that has no answer of its own
 *
 * With REPLY_ACK negotiated an acknowledgement is asked for and waited for.
 */
int frontend_send(struct frontend *f, uint32_t request, const void *payload, uint32_t size,
		  const int *fds, unsigned fd_count);

/**
 * frontend_get_u64(), frontend_set_u64() - A request whose answer, or payload, is one number
 */
int frontend_get_u64(struct frontend *f, uint32_t request, uint64_t *ret);
int frontend_set_u64(struct frontend *f, uint32_t request, uint64_t value);

/**
 * frontend_negotiate() - Owner, features and protocol features: everything before memory
 * @features: wanted; what the back-end doesn't offer is left out, see f->features afterwards
 * @protocol: wanted; the same
 */
int frontend_negotiate(struct frontend *f, uint64_t features, uint64_t protocol);

/**
 * frontend_set_memory() - Tell the regions: one by one with MEM_SLOTS, else in one table
 *
 * @m stays in use until frontend_disconnect().
 */
int frontend_set_memory(struct frontend *f, const struct guest_memory *m);
int frontend_set_mem_table(struct frontend *f, const struct guest_memory *m);
int frontend_add_region(struct frontend *f, const struct guest_region *r);
int frontend_remove_region(struct frontend *f, const struct guest_region *r);

/**
 * frontend_ring_setup() - NUM, BASE, ADDR, ERR, CALL and KICK: the ring starts, not yet enabled
 * @index: 2 * pair for a receive ring, 2 * pair + 1 for a transmit ring
 * @base:  where the back-end begins
 */
int frontend_ring_setup(struct frontend *f, uint32_t index, const struct guest_ring *r,
			uint16_t base);

/**
 * frontend_ring_address() - SET_VRING_ADDR alone
 */
int frontend_ring_address(struct frontend *f, uint32_t index, const struct guest_ring *r);

/**
 * frontend_ring_enable() - SET_VRING_ENABLE
 */
int frontend_ring_enable(struct frontend *f, uint32_t index, bool enable);

/**
 * frontend_ring_stop() - GET_VRING_BASE: the ring stops
 * @ret_base: the next avail index that the back-end would have looked at; may be NULL
 */
int frontend_ring_stop(struct frontend *f, uint32_t index, uint16_t *ret_base);

/**
 * frontend_set_status() - SET_STATUS, and GET_STATUS to see that it was taken
 *
 * Without the protocol feature STATUS nothing is said. -EREMOTEIO: the status isn't the one set.
 */
int frontend_set_status(struct frontend *f, uint8_t status);

/**
 * frontend_reset_device() - RESET_DEVICE
 */
int frontend_reset_device(struct frontend *f);

/**
 * frontend_set_mtu() - NET_SET_MTU
 */
int frontend_set_mtu(struct frontend *f, uint64_t mtu);

/**
 * frontend_send_rarp() - SEND_RARP for @mac: announce where the guest is now
 */
int frontend_send_rarp(struct frontend *f, const uint8_t mac[6]);

/**
 * frontend_kick() - Write the kick eventfd of ring @index
 */
void frontend_kick(struct frontend *f, uint32_t index);

/**
 * frontend_clear_call() - Read the call eventfd. Return: interrupts since the last time
 */
uint64_t frontend_clear_call(struct frontend *f, uint32_t index);

/**
 * frontend_request_name() - A request's name, "?" when unknown
 */
const char *frontend_request_name(uint32_t request);

/**
 * frontend_fail() - Set the message and return @error; for this folder's files
 */
int frontend_fail(struct frontend *f, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
