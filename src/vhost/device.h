/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of vhost/ share: the device, its rings, its connection, a message.
 *
 * vhost.c      the device's life: listening, dialing, one connection at a time
 * connection.c bytes and fds from the socket to whole messages, time-outs, the rate limit
 * message.c    the table of requests, dispatch, acknowledgements
 * memory.c     requests about the memory table
 * vring.c      requests about rings: start, stop, eventfds
 * show.c       what the operator is told
 */
#ifndef VHOST_DEVICE_H
#define VHOST_DEVICE_H

#include "base/log.h"
#include "vhost/protocol.h"
#include "vhost/vhost.h"

struct sd_event_source;

/**
 * struct vhost_message - One request, in private memory
 * @fds: that came with it; a handler that keeps one sets it to -1, the rest is closed behind it
 */
struct vhost_message {
	struct vhost_header header;
	union vhost_payload payload;
	int fds[VHOST_FDS_MAX];
	unsigned fd_count;
};

/* What a handler answers. */
enum vhost_verdict {
	VHOST_DONE,
	VHOST_REFUSED, /* nothing changed; said to the front-end when it asked for a reply */
	VHOST_CLOSE,   /* the front-end cannot be talked to: disconnect */
};

/**
 * struct vhost_ring - What the front-end said about a ring
 * @size:      0: not yet
 * @addressed: @addresses are valid
 * @base:      next avail index: told by the front-end, or where the ring stopped
 * @base_ours: it is where the ring stopped
 * @kicked:    SET_VRING_KICK came since the ring was last stopped by the front-end: it shall run
 * @started:   the owner works it
 * @enable_told: SET_VRING_ENABLE came; else the ring is enabled unless protocol features are used
 * @broken:    why it may not start again before a reset, or NULL
 */
struct vhost_ring {
	uint32_t size;
	bool addressed;
	struct vhost_ring_addresses addresses;
	uint16_t base;
	bool base_ours;
	int kick_fd;
	int call_fd;
	int err_fd;
	bool kicked;
	bool started;
	bool enabled;
	bool enable_told;
	const char *broken;
};

/**
 * struct vhost_connection - A connected front-end and the message that is being received
 * @fd:         -1: nobody is connected
 * @got:        bytes of header and payload received so far
 * @budget_ns:  processor time that it may use up yet: refilled as time goes by
 * @since_ns:   connected since
 */
struct vhost_connection {
	int fd;
	int pid;
	int uid;
	uint32_t got;
	struct vhost_message message;
	struct sd_event_source *readable;
	struct sd_event_source *late;	/* a message was begun and not ended */
	struct sd_event_source *resume; /* after it used up its budget */
	int64_t budget_ns;
	uint64_t budget_at_ns;
	uint64_t since_ns;
	uint64_t message_count;
};

struct vhost_counters {
	uint64_t requests[VHOST_REQUEST_COUNT];
	uint64_t unknown;     /* requests that are not ours */
	uint64_t refused;     /* refused requests */
	uint64_t violations;  /* disconnected because of one */
	uint64_t connections; /* front-ends taken */
	uint64_t turned_away; /* connections refused because there was one */
	uint64_t broken;      /* rings that broke */
	uint64_t pauses;      /* the rate limit was met */
};

struct vhost_device {
	struct vhost_device_config config;
	char name[64];
	uint8_t mac[6];
	uint64_t offered;
	uint64_t protocol_offered;
	struct vhost_ring *rings;
	unsigned ring_count;
	struct mem_table *mem;
	uint64_t features;
	bool features_told;
	uint64_t protocol_features;
	uint8_t status;
	struct vhost_connection connection;
	struct sd_event_source *listening;
	struct sd_event_source *listen_again;
	struct sd_event_source *dial;
	struct sd_event_source *memory_late;
	uint64_t dial_wait_us;
	unsigned log_tokens;
	uint64_t log_at_ns;
	uint64_t log_suppressed;
	char why[200];		 /* the last refusal or reason to disconnect */
	char note[ERRMSG_BYTES]; /* what the operator should know now; empty: nothing */
	struct vhost_counters counters;
};

/* vhost.c */

/* One line about this device, unless there were too many: a front-end cannot flood the log. */
void vhost_log(struct vhost_device *d, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Return: VHOST_REFUSED, with the reason kept and logged */
enum vhost_verdict vhost_refuse(struct vhost_device *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Return: VHOST_CLOSE, with the reason kept */
enum vhost_verdict vhost_violation(struct vhost_device *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* End the connection and everything that came by it. @d->why says why.
 * @peer_gone: it closed: nothing is stored to its memory any more (L11) */
void vhost_disconnect(struct vhost_device *d, bool peer_gone);

/* connection.c */

/* @fd is taken, on failure too. Return: 0, negative errno */
int vhost_connection_open(struct vhost_device *d, int fd);
void vhost_connection_close(struct vhost_device *d);
bool vhost_connection_is_dead(const struct vhost_connection *c);
/* Return: 0, or negative errno when the peer does not read */
int vhost_reply(struct vhost_device *d, const struct vhost_message *request, const void *payload,
		uint32_t payload_bytes);

/* message.c */

/* Handle one whole message and answer it. The caller closes the fds that are left in it. */
enum vhost_verdict vhost_message_handle(struct vhost_device *d, struct vhost_message *m);
const char *vhost_request_name(uint32_t request); /* NULL: not ours */
/* @m's fd number @index, the caller's from now on; -1: none */
int vhost_message_take_fd(struct vhost_message *m, unsigned index);
void vhost_message_close_fds(struct vhost_message *m);

/* memory.c */

enum vhost_verdict vhost_set_mem_table(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_get_max_mem_slots(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_add_mem_reg(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_rem_mem_reg(struct vhost_device *d, struct vhost_message *m);

/* vring.c */

int vhost_rings_init(struct vhost_device *d);
/* Back to how they were before anybody connected; all are stopped. */
void vhost_rings_fini(struct vhost_device *d);
/* Stop every ring that runs; it starts again with vhost_rings_start(). */
void vhost_rings_stop(struct vhost_device *d, bool peer_gone);
/* Start every ring that shall run and can. */
void vhost_rings_start(struct vhost_device *d);
/* Stopped, not kicked, not broken, not enabled. GET_VRING_BASE may still ask where they stood:
 * @keep_base; RESET_DEVICE forgets that too. */
void vhost_rings_reset(struct vhost_device *d, bool keep_base);

enum vhost_verdict vhost_set_vring_num(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_set_vring_addr(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_set_vring_base(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_get_vring_base(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_set_vring_kick(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_set_vring_call(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_set_vring_err(struct vhost_device *d, struct vhost_message *m);
enum vhost_verdict vhost_set_vring_enable(struct vhost_device *d, struct vhost_message *m);

#endif
