/* SPDX-License-Identifier: BSD-2-Clause */
/* A scripted vhost-user front-end and a stand-in owner, around one device in one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "script.h"

/* The owner */

static void on_connected(void *ctx, int pid, int uid)
{
	struct script_owner *o = ctx;

	assert_int_equal(o->connected, o->disconnected);
	o->connected++;
	o->pid = pid;
	o->uid = uid;
}

static void on_disconnected(void *ctx, const char *why)
{
	struct script_owner *o = ctx;

	for (int i = 0; i < SCRIPT_RINGS; i++)
		assert_false(o->rings[i].running);
	o->disconnected++;
	snprintf(o->why, sizeof(o->why), "%s", why);
}

static void on_features(void *ctx, uint64_t features)
{
	struct script_owner *o = ctx;

	for (int i = 0; i < SCRIPT_RINGS; i++)
		assert_false(o->rings[i].running);
	o->features = features;
}

/* Both ends of each part can be reached. */
static void touch(const struct virtio_ring_config *c)
{
	(void)mem_load64(&c->desc[0].addr);
	(void)mem_load64(&c->desc[c->size - 1].len_flags_next);
	(void)mem_load16(&c->avail->flags);
	(void)mem_load16(&c->avail->ring[c->size]); /* used_event */
	(void)mem_load16(&c->used->flags);
	c->used->ring[c->size - 1].id = le32_make(0);
	*(volatile uint16_t *)&c->used->ring[c->size] = 0; /* avail_event */
}

static int on_ring_start(void *ctx, unsigned index, const struct vhost_ring_info *info)
{
	struct script_owner *o = ctx;
	struct script_ring *r = &o->rings[index];

	assert_false(r->running);
	if (o->start_error)
		return o->start_error;
	r->running = true;
	r->starts++;
	r->info = *info;
	r->call_fd = info->call_fd;
	r->next = info->config.base;
	mem_table_get(info->config.mem);
	touch(&info->config);
	return 0;
}

static uint16_t on_ring_stop(void *ctx, unsigned index, bool peer_gone)
{
	struct script_owner *o = ctx;
	struct script_ring *r = &o->rings[index];

	assert_true(r->running);
	r->running = false;
	r->peer_gone = peer_gone;
	r->stops++;
	if (!peer_gone) /* still mapped */
		r->info.config.used->index.raw = r->next;
	mem_table_put(r->info.config.mem);
	return r->next;
}

static void on_ring_enable(void *ctx, unsigned index, bool enable)
{
	struct script_owner *o = ctx;

	assert_true(o->rings[index].running);
	o->rings[index].enabled = enable;
	o->rings[index].enables++;
}

static void on_ring_call(void *ctx, unsigned index, int call_fd)
{
	struct script_owner *o = ctx;

	assert_true(o->rings[index].running);
	o->rings[index].call_fd = call_fd;
	o->rings[index].calls++;
}

static void on_signal(void *ctx, int fd)
{
	struct script_owner *o = ctx;
	uint64_t one = 1;

	o->signals++;
	if (write(fd, &one, sizeof(one)) < 0)
		assert_int_equal(errno, EAGAIN);
}

static void on_broken(void *ctx, unsigned index, const char *why)
{
	struct script_owner *o = ctx;

	assert_non_null(why);
	assert_false(o->rings[index].running);
	o->rings[index].broken++;
}

static void on_note(void *ctx, const char *text)
{
	struct script_owner *o = ctx;

	snprintf(o->note, sizeof(o->note), "%s", text ? text : "");
}

static void on_rarp(void *ctx, const uint8_t mac[6])
{
	struct script_owner *o = ctx;

	o->rarps++;
	memcpy(o->mac, mac, 6);
}

static void on_mtu(void *ctx, uint16_t mtu)
{
	((struct script_owner *)ctx)->mtu = mtu;
}

const struct vhost_device_ops script_ops = {
	.connected = on_connected,
	.disconnected = on_disconnected,
	.features = on_features,
	.ring_start = on_ring_start,
	.ring_stop = on_ring_stop,
	.ring_enable = on_ring_enable,
	.ring_call = on_ring_call,
	.signal = on_signal,
	.broken = on_broken,
	.note = on_note,
	.rarp = on_rarp,
	.mtu = on_mtu,
};

/* Life */

unsigned script_fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static socklen_t address_of(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* abstract: nothing is left in the file system */
	snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "%s", path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(path));
}

int script_listen(const char *path)
{
	struct sockaddr_un address;
	socklen_t bytes = address_of(path, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

void script_init(struct script *s, const struct vhost_device_config *config)
{
	struct vhost_device_config c = {
		.name = "t",
		.features = SCRIPT_OFFERED,
		.pairs_max = SCRIPT_PAIRS,
		.listen_fd = -1,
	};
	static unsigned number;

	memset(s, 0, sizeof(*s));
	s->fd = -1;
	assert_true(sd_event_new(&s->loop) >= 0);
	snprintf(s->path, sizeof(s->path), "lastref-test-%d-%u", getpid(), number++);
	if (config)
		c = *config;
	if (!c.dial)
		c.listen_fd = script_listen(s->path);
	c.loop = s->loop;
	c.ops = &script_ops;
	c.ctx = &s->owner;
	assert_int_equal(vhost_device_new(&c, &s->device), 0);
}

void script_fini(struct script *s)
{
	if (s->fd >= 0)
		close(s->fd);
	vhost_device_free(s->device);
	sd_event_unref(s->loop);
	assert_int_equal(mem_regions_mapped(), 0);
}

void script_run(struct script *s)
{
	int got;

	do {
		got = sd_event_run(s->loop, 0);
		assert_true(got >= 0);
	} while (got > 0);
}

void script_run_ms(struct script *s, unsigned ms)
{
	uint64_t until = clock_now_ns() + ms * NS_PER_MS;

	for (;;) {
		uint64_t now = clock_now_ns();

		if (now >= until)
			break;
		assert_true(sd_event_run(s->loop, (until - now) / NS_PER_US + 1) >= 0);
	}
	script_run(s);
}

int script_connect_fd(const char *path)
{
	struct sockaddr_un address;
	socklen_t bytes = address_of(path, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, bytes), 0);
	return fd;
}

int script_dial(struct script *s)
{
	int fd = script_connect_fd(s->path);

	script_run(s);
	return fd;
}

void script_connect(struct script *s)
{
	if (s->fd >= 0)
		close(s->fd);
	script_run(s);
	s->fd = script_dial(s);
}

/* Messages */

void script_write(int fd, const void *bytes, size_t count, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd_count) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
}

void script_send(struct script *s, uint32_t request, uint32_t flags, const void *payload,
		 uint32_t payload_bytes, const int *fds, unsigned fd_count)
{
	struct {
		struct vhost_header header;
		uint8_t payload[4096];
	} message = {.header = {request, flags | VHOST_VERSION, payload_bytes}};

	assert_true(payload_bytes <= sizeof(message.payload));
	if (payload_bytes)
		memcpy(message.payload, payload, payload_bytes);
	script_write(s->fd, &message, sizeof(message.header) + payload_bytes, fds, fd_count);
	script_run(s);
}

int script_receive(struct script *s, uint32_t request, void *payload, uint32_t payload_max)
{
	struct vhost_header header;
	ssize_t n = recv(s->fd, &header, sizeof(header), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return -1;
	if (n <= 0)
		return -2;
	assert_int_equal(n, sizeof(header));
	assert_int_equal(header.request, request);
	assert_int_equal(header.flags, VHOST_VERSION | VHOST_FLAG_REPLY);
	assert_true(header.payload_bytes <= payload_max);
	if (header.payload_bytes == 0)
		return 0;
	n = recv(s->fd, payload, header.payload_bytes, MSG_DONTWAIT);
	assert_int_equal(n, header.payload_bytes);
	return (int)header.payload_bytes;
}

bool script_is_closed(struct script *s)
{
	char byte;
	ssize_t n = recv(s->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static uint64_t receive_u64(struct script *s, uint32_t request)
{
	uint64_t value = 0;

	assert_int_equal(script_receive(s, request, &value, sizeof(value)), sizeof(value));
	return value;
}

uint64_t script_ask(struct script *s, uint32_t request)
{
	script_send(s, request, 0, NULL, 0, NULL, 0);
	return receive_u64(s, request);
}

uint64_t script_tell(struct script *s, uint32_t request, const void *payload,
		     uint32_t payload_bytes, const int *fds, unsigned fd_count)
{
	script_send(s, request, SCRIPT_NEED, payload, payload_bytes, fds, fd_count);
	return receive_u64(s, request);
}

uint64_t script_tell_u64(struct script *s, uint32_t request, uint64_t value)
{
	return script_tell(s, request, &value, sizeof(value), NULL, 0);
}

uint64_t script_tell_ring(struct script *s, uint32_t request, uint32_t index, uint32_t value)
{
	struct vhost_ring_state state = {index, value};

	return script_tell(s, request, &state, sizeof(state), NULL, 0);
}

uint64_t script_tell_fd(struct script *s, uint32_t request, uint32_t index, int fd)
{
	uint64_t value = index | (fd < 0 ? VHOST_RING_NO_FD : 0);

	return script_tell(s, request, &value, sizeof(value), &fd, fd < 0 ? 0 : 1);
}

void script_negotiate(struct script *s, uint64_t features)
{
	uint64_t protocol = script_ask(s, VHOST_GET_PROTOCOL_FEATURES);

	script_send(s, VHOST_SET_PROTOCOL_FEATURES, 0, &protocol, sizeof(protocol), NULL, 0);
	assert_int_equal(script_tell(s, VHOST_SET_OWNER, NULL, 0, NULL, 0), 0);
	assert_int_equal(script_tell_u64(s, VHOST_SET_FEATURES, features), 0);
}

int script_memory_fd(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)SCRIPT_MEMORY), 0);
	return fd;
}

uint64_t script_tell_memory(struct script *s, int fd)
{
	struct vhost_wire_table table = {
		.count = 1,
		.regions[0] = {.guest = 0, .bytes = SCRIPT_MEMORY, .user = SCRIPT_USER},
	};

	return script_tell(s, VHOST_SET_MEM_TABLE, &table, 8 + sizeof(table.regions[0]), &fd, 1);
}

struct vhost_ring_addresses script_addresses(uint32_t index)
{
	uint64_t at = SCRIPT_USER + index * 0x20000ull;

	return (struct vhost_ring_addresses){
		.index = index, .desc = at, .avail = at + 0x10000, .used = at + 0x18000};
}

void script_set_up_ring(struct script *s, uint32_t index, uint32_t size)
{
	struct vhost_ring_addresses a = script_addresses(index);

	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, index, size), 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_BASE, index, 0), 0);
	assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
}

void script_start(struct script *s, uint64_t features)
{
	int memory_fd = script_memory_fd();
	int kick_fd = eventfd(0, EFD_CLOEXEC), call_fd = eventfd(0, EFD_CLOEXEC);

	script_negotiate(s, features);
	assert_int_equal(script_tell_memory(s, memory_fd), 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_CALL, i, call_fd), 0);
		script_set_up_ring(s, i, 256);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, i, kick_fd), 0);
		assert_true(s->owner.rings[i].running);
	}
	close(memory_fd);
	close(kick_fd);
	close(call_fd);
}

uint32_t script_stop_ring(struct script *s, uint32_t index)
{
	struct vhost_ring_state state = {index, 0xffffffff};

	script_send(s, VHOST_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	state.value = 0xffffffff;
	assert_int_equal(script_receive(s, VHOST_GET_VRING_BASE, &state, sizeof(state)),
			 sizeof(state));
	assert_int_equal(state.index, index);
	return state.value;
}
