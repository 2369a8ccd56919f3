/* SPDX-License-Identifier: BSD-2-Clause */
/* The back-end's side of vhost-user: one device, its connection, its message table.
 *
 * Text: docs/interop/vhost-user.rst of QEMU. Main thread only; data flows in rings that the owner
 * (port/vm.c) starts and stops when told so here.
 */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include <jansson.h>

#include "base/errmsg.h"
#include "mem/mem.h"
#include "virtio/ring.h"

#define VHOST_PAIRS_MAX 128
#define VHOST_RINGS_MAX (2 * VHOST_PAIRS_MAX)

struct sd_event;
struct vhost_device;

/**
 * struct vhost_ring_info - What ring_start() is given, checked and translated
 * @kick_fd: -1: poll; stays the device's
 * @call_fd: -1: never call; stays the device's. Changes later come by ring_call()
 */
struct vhost_ring_info {
	struct virtio_ring_config config;
	int kick_fd;
	int call_fd;
};

/**
 * struct vhost_device_ops - What the owner of a device does
 * @connected:   a front-end is there
 * @disconnected: it is gone (@why is one line); every ring was stopped before
 * @features:    the front-end acknowledged @features (never while a ring runs, but for LOG_ALL)
 * @ring_start:  begin to work ring @index (even: receive, odd: transmit, in the guest's words).
 *               0 or negative errno: the ring stays stopped
 * @ring_stop:   stop it, drain what is lent, publish (unless @peer_gone: then nothing is stored to
 *               guest memory any more, L11); returns the next avail index
 * @ring_enable: told after each ring_start() and whenever it changes while the ring runs
 * @ring_call:   another call fd (-1: none); when it returns the old one is not used any more: it is
 *               closed next. An interrupt may have gone to the old one: signal the new one once
 * @signal:      write an eventfd of the front-end's without being held by it
 * @broken:      a ring broke; it was stopped
 * @note:        what vhost_device_note() was told; NULL: nothing any more
 * @rarp:        SEND_RARP: this MAC is here now
 * @mtu:         NET_SET_MTU
 */
struct vhost_device_ops {
	void (*connected)(void *ctx, int pid, int uid);
	void (*disconnected)(void *ctx, const char *why);
	void (*features)(void *ctx, uint64_t features);
	int (*ring_start)(void *ctx, unsigned index, const struct vhost_ring_info *info);
	uint16_t (*ring_stop)(void *ctx, unsigned index, bool peer_gone);
	void (*ring_enable)(void *ctx, unsigned index, bool enable);
	void (*ring_call)(void *ctx, unsigned index, int call_fd);
	void (*signal)(void *ctx, int fd);
	void (*broken)(void *ctx, unsigned index, const char *why);
	void (*note)(void *ctx, const char *text);
	void (*rarp)(void *ctx, const uint8_t mac[6]);
	void (*mtu)(void *ctx, uint16_t mtu);
};

/**
 * struct vhost_device_config - A device before anybody connects
 * @name:       for log lines
 * @features:   what is offered (VIRTIO_PROTOCOL_FEATURES is added)
 * @pairs_max:  queue pairs that a front-end may ask for
 * @mtu:        told in config space; 0: none
 * @mac:        told in config space; NULL: none
 * @bytes_max:  cap on mapped guest memory, 0: none
 * @listen_fd:  server mode: listening socket, taken; -1 in client mode
 * @dial:       client mode: connect now; a connected socket (taken) or -errno; tried with backoff
 */
struct vhost_device_config {
	const char *name;
	uint64_t features;
	unsigned pairs_max;
	uint16_t mtu;
	const uint8_t *mac;
	uint64_t bytes_max;
	int listen_fd;
	int (*dial)(void *ctx);
	struct sd_event *loop;
	const struct vhost_device_ops *ops;
	void *ctx;
};

int vhost_device_new(const struct vhost_device_config *config, struct vhost_device **ret_device);

/**
 * vhost_device_free() - Close the connection, stop every ring, free. NULL is fine
 */
void vhost_device_free(struct vhost_device *d);

/**
 * vhost_device_broken() - The owner saw the guest break a ring: stop it, signal its err fd, keep
 * answering; it starts again only after GET_VRING_BASE, a reset or a new connection
 * @why: a constant
 */
void vhost_device_broken(struct vhost_device *d, unsigned ring_index, const char *why);

/**
 * vhost_device_show() - Features by name, rings, regions, peer, notes such as unshared memory
 */
void vhost_device_show(const struct vhost_device *d, json_t *into);

/**
 * vhost_device_note() - A line for the operator beside the state, shown and logged; once each
 * @text: NULL: nothing any more
 */
void vhost_device_note(struct vhost_device *d, const char *text);

/* What to do when a guest's memory is not shared with us; the end of a sentence. */
#define VHOST_SHARE_CURE                                                                           \
	"guest memory is not shared; QEMU's memory backend needs share=on, libvirt's "             \
	"memoryBacking <access mode='shared'/>"

/**
 * vhost_feature_name() - What a feature bit is called, NULL: it has no name
 * vhost_feature_find() - The mask of the feature called @name, 0: none
 */
const char *vhost_feature_name(unsigned bit);
uint64_t vhost_feature_find(const char *name, size_t name_bytes);

#endif
