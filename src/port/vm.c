/* SPDX-License-Identifier: BSD-2-Clause */
/* The vm port: a guest's network card behind a vhost-user socket. Its keys, life and show; the link
 * to the front-end is vm_link.c, the data path vm_tx.c and vm_rx.c.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "port/types.h"
#include "port/vm_control.h"

#define PERM_DEFAULT   0660u
#define QUEUES_DEFAULT 16u

/* What a guest is offered. Each has its path and its test; MQ and MTU depend on the keys. */
#define OFFERED                                                                                    \
	(VIRTIO_VERSION_1 | VIRTIO_ANY_LAYOUT | VIRTIO_INDIRECT | VIRTIO_EVENT_IDX |               \
	 VIRTIO_IN_ORDER | VIRTIO_NET_MRG_RXBUF | VIRTIO_NET_CSUM | VIRTIO_NET_GUEST_CSUM |        \
	 VIRTIO_NET_HOST_TSO4 | VIRTIO_NET_HOST_TSO6 | VIRTIO_NET_HOST_ECN |                       \
	 VIRTIO_NET_GUEST_TSO4 | VIRTIO_NET_GUEST_TSO6 | VIRTIO_NET_GUEST_ECN |                    \
	 VIRTIO_NET_STATUS | VIRTIO_NET_GUEST_ANNOUNCE)

static const struct port_key vm_keys[VM_KEY_COUNT + 1] = {
	[VM_KEY_SOCKET] = {.name = "socket",
			   .kind = PORT_KEY_TEXT,
			   .choices = "PATH",
			   .flags = PORT_KEY_REQUIRED,
			   .help = "path of the vhost-user socket"},
	[VM_KEY_MODE] = {.name = "mode",
			 .kind = PORT_KEY_CHOICE,
			 .choices = "server|client",
			 .fallback = "server",
			 .help = "server: the switch listens; client: the VMM listens"},
	[VM_KEY_USER] = {.name = "user",
			 .kind = PORT_KEY_TEXT,
			 .choices = "USER",
			 .help = "owner of the socket, name or number"},
	[VM_KEY_GROUP] = {.name = "group",
			  .kind = PORT_KEY_TEXT,
			  .choices = "GROUP",
			  .help = "group of the socket, name or number"},
	[VM_KEY_PERM] = {.name = "perm",
			 .kind = PORT_KEY_OCTAL,
			 .max = 0777,
			 .fallback = "0660",
			 .help = "permission bits of the socket"},
	[VM_KEY_QUEUES] = {.name = "queues",
			   .kind = PORT_KEY_NUMBER,
			   .min = 1,
			   .max = VM_PAIRS_MAX,
			   .fallback = "16",
			   .help = "most queue pairs that the front-end may ask for"},
	[VM_KEY_MAC] = {.name = "mac",
			.kind = PORT_KEY_MAC,
			.help = "address of the card, told to front-ends that ask"},
	[VM_KEY_MTU] = {.name = "mtu",
			.kind = PORT_KEY_NUMBER,
			.min = 68,
			.max = 65535,
			.help = "most payload bytes of a frame, told to the guest"},
	[VM_KEY_FEATURES] = {.name = "features",
			     .kind = PORT_KEY_TEXT,
			     .choices = "LIST",
			     .help = "features not to offer: -in_order,-event_idx"},
};

static void settings_free(struct vm_settings *s)
{
	for (unsigned i = 0; i < VM_KEY_COUNT; i++)
		free(s->value[i]);
}

/* Remember only what differs from the fallback: that is what recreates the port. */
static int settings_copy(struct vm_settings *s, const struct port_config *config)
{
	for (unsigned i = 0; i < VM_KEY_COUNT; i++) {
		const char *fallback = vm_keys[i].fallback;

		if (!config->value[i] || (fallback && strcmp(fallback, config->value[i]) == 0))
			continue;
		s->value[i] = strdup(config->value[i]);
		if (!s->value[i])
			return -ENOMEM;
	}
	return 0;
}

static bool is_number(const char *text, int *ret_number)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || n > INT32_MAX)
		return false;
	*ret_number = (int)n;
	return true;
}

static int owner_find(struct vm_settings *s, struct errmsg *err)
{
	const char *user = s->value[VM_KEY_USER], *group = s->value[VM_KEY_GROUP];

	s->uid = -1;
	s->gid = -1;
	if (s->client && (user || group || s->value[VM_KEY_PERM]))
		return errmsg_set(err, "user, group and perm go with mode server: "
				       "in mode client the VMM makes the socket");
	if (user && !is_number(user, &s->uid)) {
		const struct passwd *found = getpwnam(user);

		if (!found)
			return errmsg_set(err, "there is no user '%s'", user);
		s->uid = (int)found->pw_uid;
	}
	if (group && !is_number(group, &s->gid)) {
		const struct group *found = getgrnam(group);

		if (!found)
			return errmsg_set(err, "there is no group '%s'", group);
		s->gid = (int)found->gr_gid;
	}
	return 0;
}

/* "-packed,-in_order" */
static int features_remove(const char *list, uint64_t *offered, struct errmsg *err)
{
	for (const char *at = list; at; at = strchr(at, ',')) {
		size_t bytes;
		uint64_t bit = 0;

		at += at != list;
		bytes = strcspn(at, ",");
		if (bytes > 1 && at[0] == '-')
			bit = vhost_feature_find(at + 1, bytes - 1);
		if (!bit || bit == VIRTIO_PROTOCOL_FEATURES)
			return errmsg_set(err,
					  "features: '%.*s', expected names of features to leave "
					  "out, such as -in_order,-event_idx",
					  (int)bytes, at);
		*offered &= ~bit;
	}
	return 0;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++) {
		char *end;
		unsigned long byte = strtoul(text, &end, 16);

		if (end == text || end > text + 2 || byte > UINT8_MAX)
			return false;
		if (*end != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)byte;
		text = end + 1;
	}
	return true;
}

static unsigned number_of(const struct vm_settings *s, enum vm_key key, int base, unsigned fallback)
{
	return s->value[key] ? (unsigned)strtoul(s->value[key], NULL, base) : fallback;
}

/* Each value fits its row of the table: whoever read the command checked it. */
static int settings_read(struct vm_settings *s, struct errmsg *err)
{
	const struct sockaddr_un *address = NULL;
	const char *path = s->value[VM_KEY_SOCKET];
	int error;

	if (!path || !path[0])
		return errmsg_set(err, "socket: expected a path");
	if (strlen(path) >= sizeof(address->sun_path))
		return errmsg_set(err, "socket: the path has %zu bytes, at most %zu are possible",
				  strlen(path), sizeof(address->sun_path) - 1);
	s->client = s->value[VM_KEY_MODE] && strcmp(s->value[VM_KEY_MODE], "client") == 0;
	s->perm = number_of(s, VM_KEY_PERM, 8, PERM_DEFAULT);
	s->queues = number_of(s, VM_KEY_QUEUES, 10, QUEUES_DEFAULT);
	s->mtu = (uint16_t)number_of(s, VM_KEY_MTU, 10, 0);
	s->has_mac = s->value[VM_KEY_MAC];
	if (s->has_mac && !parse_mac(s->value[VM_KEY_MAC], s->mac))
		return errmsg_set(err, "mac: '%s', expected six bytes in hex with colons",
				  s->value[VM_KEY_MAC]);
	error = owner_find(s, err);
	if (error)
		return error;
	s->offered = OFFERED;
	if (s->queues > 1)
		s->offered |= VIRTIO_NET_MQ;
	if (s->mtu)
		s->offered |= VIRTIO_NET_MTU;
	return s->value[VM_KEY_FEATURES]
		       ? features_remove(s->value[VM_KEY_FEATURES], &s->offered, err)
		       : 0;
}

static void control_free(struct vm_control *c)
{
	for (unsigned i = 0; i < VM_PAIRS_MAX; i++)
		vm_pair_free(atomic_load(&c->vm.pairs[i]));
	settings_free(&c->settings);
	free(c);
}

static int vm_create(struct port *p, const struct port_config *config, struct errmsg *err)
{
	struct vm_control *c = calloc(1, sizeof(*c));
	int error;

	if (!c)
		return errmsg_set(err, "no memory"), -ENOMEM;
	c->vm.port = p;
	p->impl = c;
	error = settings_copy(&c->settings, config);
	if (error) {
		errmsg_set(err, "no memory");
		goto fail;
	}
	error = settings_read(&c->settings, err);
	if (error)
		goto fail;
	atomic_store(&p->mtu, c->settings.mtu);
	error = vm_link_init(p, err);
	if (error)
		goto fail_link;
	vm_help_log(p);
	return 0;

fail_link:
	vm_link_fini(p);
fail:
	control_free(c);
	p->impl = NULL;
	return error;
}

static void vm_destroy(struct port *p)
{
	vm_link_fini(p);
	control_free(p->impl);
}

/* Show */

static json_t *show_pair(struct vm_pair *pair, unsigned index)
{
	struct vm_pair_show show;

	vm_pair_show(pair, &show);
	return json_pack("{s:i, s:i, s:i, s:I, s:i, s:i}", "index", (int)index, "worker",
			 (int)show.worker_index, "lent", (int)show.lent_count, "lent_oldest_ns",
			 (json_int_t)show.lent_oldest_ns, "copy_queue_frames",
			 (int)show.copyq_frames, "copy_queue_bytes", (int)show.copyq_bytes);
}

static void vm_show(struct port *p, json_t *into)
{
	struct vm_control *c = p->impl;
	json_t *pairs = json_array();

	json_object_set_new(into, "socket", json_string(c->settings.value[VM_KEY_SOCKET]));
	json_object_set_new(into, "mode", json_string(c->settings.client ? "client" : "server"));
	vhost_device_show(c->vm.device, into);
	for (unsigned i = 0; i < VM_PAIRS_MAX; i++) {
		struct vm_pair *pair = atomic_load(&c->vm.pairs[i]);

		if (pair)
			json_array_append_new(pairs, show_pair(pair, i));
	}
	json_object_set_new(into, "pairs", pairs);
}

/* @text as one word of a command: quoted when it must be. */
static void add_word(char *buffer, size_t buffer_bytes, const char *text)
{
	bool quote = text[strcspn(text, " \t#'\"\\")] != '\0';
	size_t at = strlen(buffer);

	if (quote && at + 1 < buffer_bytes)
		buffer[at++] = '"';
	for (; *text && at + 3 < buffer_bytes; text++) {
		if (quote && (*text == '"' || *text == '\\'))
			buffer[at++] = '\\';
		buffer[at++] = *text;
	}
	if (quote && at + 1 < buffer_bytes)
		buffer[at++] = '"';
	buffer[at] = '\0';
}

static void vm_show_config(struct port *p, char *buffer, size_t buffer_bytes)
{
	const struct vm_settings *s = &((struct vm_control *)p->impl)->settings;

	snprintf(buffer, buffer_bytes, "vm");
	for (unsigned i = 0; i < VM_KEY_COUNT; i++) {
		size_t at = strlen(buffer);

		if (!s->value[i])
			continue;
		snprintf(buffer + at, buffer_bytes - at, " %s ", vm_keys[i].name);
		add_word(buffer, buffer_bytes, s->value[i]);
	}
}

const struct port_ops port_vm_ops = {
	.type = "vm",
	.help = "a guest's network card behind a vhost-user socket",
	.caps = PORT_SYNC | PORT_SG,
	.keys = vm_keys,
	.create = vm_create,
	.destroy = vm_destroy,
	.show = vm_show,
	.show_config = vm_show_config,
	.send = vm_send,
	.publish = vm_publish,
	.notify = vm_notify,
};
