/* SPDX-License-Identifier: BSD-2-Clause */
/* The vm port's control side, main thread only: vm.c (create, show), vm_link.c (what the vhost-user
 * device tells), vm_help.c (what the operator writes on the VMM's side).
 */
#ifndef PORT_VM_CONTROL_H
#define PORT_VM_CONTROL_H

#include "port/vm.h"

struct sd_event_source;

/* Keys of "port add NAME vm", by index into vm_keys. */
enum vm_key {
	VM_KEY_SOCKET,
	VM_KEY_MODE,
	VM_KEY_USER,
	VM_KEY_GROUP,
	VM_KEY_PERM,
	VM_KEY_QUEUES,
	VM_KEY_MAC,
	VM_KEY_MTU,
	VM_KEY_FEATURES,
	VM_KEY_COUNT,
};

/**
 * struct vm_settings - What the operator said
 * @value:   as it was given, copies; NULL: not given
 * @offered: feature bits, after @features removed some
 */
struct vm_settings {
	char *value[VM_KEY_COUNT];
	bool client;
	int uid;
	int gid;
	unsigned perm;
	unsigned queues;
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu;
	uint64_t offered;
};

/**
 * struct vm_ring_state - What the device told about a ring
 * @config, @kick_fd: while @running; the device's
 * @broken: why, until it starts again
 */
struct vm_ring_state {
	bool running;
	bool enabled;
	const char *broken;
	int kick_fd;
	struct virtio_ring_config config;
};

/**
 * struct vm_control - A vm port's control side
 * @poll:       looks for broken rings while any runs
 * @unshared_ns: when to look next whether the rings of pair 0 read as zeros; 0: never
 * @kicks:      what both rings had when the later of them started, or what a VMM may give them
 */
struct vm_control {
	struct vm_port vm; /* first: it is port->impl */
	struct vm_settings settings;
	struct vm_ring_state rings[VHOST_RINGS_MAX];
	unsigned rings_running;
	struct sd_event_source *poll;
	uint64_t unshared_ns;
	uint64_t kicks;
	char note[256];	     /* of the device, told when nothing worse is */
	bool dial_failed;    /* and that was logged */
	bool running_logged; /* of this connection: a front-end can stop and start for ever */
};

extern const struct vhost_device_ops vm_device_ops; /* ctx: the port */

int vm_link_init(struct port *p, struct errmsg *err);
/* Ends the connection; every ring is stopped. */
void vm_link_fini(struct port *p);

/* Log what to tell QEMU and libvirt, so that they find this port. */
void vm_help_log(const struct port *p);

#endif
