/* SPDX-License-Identifier: BSD-2-Clause */
/* A scripted vhost-user front-end and a stand-in owner, around one device in one thread.
 *
 * The script writes messages, lets the device's loop run until it is idle, and looks at the
 * replies and at what the owner was told. Times are real.
 */
#ifndef TESTS_LIB_SCRIPT_H
#define TESTS_LIB_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/protocol.h"
#include "vhost/vhost.h"

#define SCRIPT_PAIRS  2
#define SCRIPT_RINGS  (2 * SCRIPT_PAIRS)
#define SCRIPT_NEED   VHOST_FLAG_NEED_REPLY
#define SCRIPT_USER   0x7f0000000000ull /* the front-end's address of guest address 0 */
#define SCRIPT_MEMORY (1ull << 20)
#define SCRIPT_OFFERED                                                                             \
	(VIRTIO_VERSION_1 | VIRTIO_INDIRECT | VIRTIO_EVENT_IDX | VIRTIO_NET_MRG_RXBUF |            \
	 VIRTIO_NET_CSUM | VIRTIO_NET_MQ | VIRTIO_IN_ORDER)

struct script_ring {
	bool running;
	bool enabled;
	bool peer_gone; /* at the last stop */
	unsigned starts;
	unsigned stops;
	unsigned enables;
	unsigned calls; /* call fds told while it ran */
	unsigned broken;
	struct vhost_ring_info info; /* of the last start; the table is held while it runs */
	int call_fd;
	uint16_t next; /* what a stop returns */
};

struct script_owner {
	unsigned connected;
	unsigned disconnected;
	unsigned signals;
	unsigned rarps;
	int start_error; /* what ring_start() returns */
	int pid;
	int uid;
	uint16_t mtu;
	uint64_t features;
	uint8_t mac[6];
	char why[200];
	char note[ERRMSG_BYTES];
	struct script_ring rings[SCRIPT_RINGS];
};

struct sd_event;

struct script {
	struct sd_event *loop;
	struct vhost_device *device;
	struct script_owner owner;
	char path[64]; /* abstract socket name */
	int fd;	       /* the front-end's end; -1: none */
};

extern const struct vhost_device_ops script_ops;

/* Open fds of this process: for leak checks. */
unsigned script_fds_open(void);

/* @config: NULL: a server with SCRIPT_OFFERED; else its loop, ops and ctx are filled in */
void script_init(struct script *s, const struct vhost_device_config *config);
/* Everything must be gone: fds, mappings. */
void script_fini(struct script *s);
int script_listen(const char *path);
/* A connected socket. */
int script_connect_fd(const char *path);
/* A connected socket to the device's; the loop has run. */
int script_dial(struct script *s);
void script_connect(struct script *s);
/* Run the loop until nothing more happens. */
void script_run(struct script *s);
/* Run the loop for this long. */
void script_run_ms(struct script *s, unsigned ms);

/* Raw: bytes with fds, no loop. */
void script_write(int fd, const void *bytes, size_t count, const int *fds, unsigned fd_count);
/* Send a message and run. @fds stay the caller's. */
void script_send(struct script *s, uint32_t request, uint32_t flags, const void *payload,
		 uint32_t payload_bytes, const int *fds, unsigned fd_count);
/* Receive a reply to @request; its payload's size, or -1: none came, -2: closed. */
int script_receive(struct script *s, uint32_t request, void *payload, uint32_t payload_max);
bool script_is_closed(struct script *s);

/* Ask: the reply's 64-bit word. Fails the test when none comes. */
uint64_t script_ask(struct script *s, uint32_t request);
/* Send with NEED_REPLY: the acknowledgement (0: done). */
uint64_t script_tell(struct script *s, uint32_t request, const void *payload,
		     uint32_t payload_bytes, const int *fds, unsigned fd_count);
uint64_t script_tell_u64(struct script *s, uint32_t request, uint64_t value);
uint64_t script_tell_ring(struct script *s, uint32_t request, uint32_t index, uint32_t value);
/* KICK, CALL, ERR with @fd, which stays the caller's; -1: the bit that says "none". */
uint64_t script_tell_fd(struct script *s, uint32_t request, uint32_t index, int fd);

/* The usual beginning: owner, protocol features with REPLY_ACK, features. */
void script_negotiate(struct script *s, uint64_t features);
/* A memfd of SCRIPT_MEMORY. */
int script_memory_fd(void);
/* SET_MEM_TABLE with one region of @fd at guest address 0. */
uint64_t script_tell_memory(struct script *s, int fd);
/* Addresses of ring @index in that region, SET_VRING_NUM, BASE 0, ADDR. */
struct vhost_ring_addresses script_addresses(uint32_t index);
void script_set_up_ring(struct script *s, uint32_t index, uint32_t size);
/* All of it, then KICK of rings 0 and 1: they run. */
void script_start(struct script *s, uint64_t features);
/* GET_VRING_BASE */
uint32_t script_stop_ring(struct script *s, uint32_t index);

#endif
