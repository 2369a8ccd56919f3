/* SPDX-License-Identifier: BSD-2-Clause */
/* Our front-end against a back-end of a few lines, right and wrong. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "guest/frontend.h"

#define LOG_MAX 200

struct logged {
	struct frontend_header h;
	uint8_t payload[FRONTEND_PAYLOAD_MAX];
	unsigned fd_count;
};

/* How the back-end misbehaves, once, at the request that is named. */
enum mistake {
	NONE,
	REFUSE,
	WRONG_REQUEST,
	WRONG_FLAGS,
	WRONG_SIZE,
	SILENT,
	CLOSE,
	HALF_THEN_CLOSE,
	BYTE_BY_BYTE,
	SURPLUS_FD,
};

struct backend {
	int fd;
	pthread_t thread;
	uint64_t features;
	uint64_t protocol;
	uint64_t acked;
	uint64_t status;
	uint16_t bases[4];
	enum mistake mistake;
	uint32_t at;
	struct logged log[LOG_MAX];
	unsigned count;
};

static bool read_all(int fd, void *to, size_t bytes, unsigned *fd_count)
{
	uint8_t *at = to;

	while (bytes) {
		struct iovec iov = {at, bytes};
		char room[CMSG_SPACE(sizeof(int) * 16)];
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = room,
				   .msg_controllen = sizeof(room)};
		ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

		if (n <= 0)
			return false;
		if (c) {
			int fds[16];
			size_t size = c->cmsg_len - CMSG_LEN(0);

			memcpy(fds, CMSG_DATA(c), size);
			for (size_t i = 0; i < size / sizeof(int); i++, (*fd_count)++)
				close(fds[i]);
		}
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}

static bool reply(struct backend *b, const struct logged *m, const void *payload, uint32_t size)
{
	struct frontend_header h = {m->h.request, FRONTEND_VERSION | FRONTEND_REPLY, size};
	uint8_t bytes[64];
	enum mistake mistake = m->h.request == b->at ? b->mistake : NONE;

	if (mistake == WRONG_REQUEST)
		h.request++;
	if (mistake == WRONG_FLAGS)
		h.flags = FRONTEND_VERSION;
	if (mistake == WRONG_SIZE)
		h.size++;
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), payload, size);
	size += (uint32_t)sizeof(h);
	switch (mistake) {
	case SILENT:
		return true;
	case CLOSE:
		return false;
	case HALF_THEN_CLOSE:
		assert_int_equal(write(b->fd, bytes, size / 2 + 3), size / 2 + 3);
		return false;
	case BYTE_BY_BYTE:
		for (uint32_t i = 0; i < size; i++) {
			assert_int_equal(write(b->fd, bytes + i, 1), 1);
			usleep(500);
		}
		return true;
	case SURPLUS_FD: {
		struct frontend f = {.fd = b->fd, .timeout_ms = 1000};
		int fds[3] = {0, 1, 2};

		assert_int_equal(frontend_send_bytes(&f, bytes, size, fds, 3), 0);
		return true;
	}
	default:
		assert_int_equal(write(b->fd, bytes, size), size);
		return true;
	}
}

static bool reply_u64(struct backend *b, const struct logged *m, uint64_t value)
{
	if (b->mistake == REFUSE && m->h.request == b->at)
		value = 1;
	return reply(b, m, &value, sizeof(value));
}

static bool answer(struct backend *b, const struct logged *m)
{
	struct frontend_vring_state state;

	memcpy(&state, m->payload, sizeof(state));
	switch (m->h.request) {
	case FRONTEND_GET_FEATURES:
		return reply_u64(b, m, b->features);
	case FRONTEND_GET_PROTOCOL_FEATURES:
		return reply_u64(b, m, b->protocol);
	case FRONTEND_GET_QUEUE_NUM:
		return reply_u64(b, m, 4);
	case FRONTEND_GET_MAX_MEM_SLOTS:
		return reply_u64(b, m, 64);
	case FRONTEND_GET_STATUS:
		return reply_u64(b, m, b->status);
	case FRONTEND_GET_VRING_BASE:
		state.num = b->bases[state.index];
		return reply(b, m, &state, sizeof(state));
	case FRONTEND_SET_STATUS:
		b->status = m->payload[0];
		break;
	case FRONTEND_SET_VRING_BASE:
		b->bases[state.index] = (uint16_t)state.num;
		break;
	}
	return m->h.flags & FRONTEND_NEED_REPLY ? reply_u64(b, m, 0) : true;
}

static void *serve(void *arg)
{
	struct backend *b = arg;

	while (b->count < LOG_MAX) {
		struct logged *m = &b->log[b->count];

		if (!read_all(b->fd, &m->h, sizeof(m->h), &m->fd_count) ||
		    !read_all(b->fd, m->payload, m->h.size, &m->fd_count))
			break;
		b->count++;
		if (!answer(b, m))
			break;
	}
	close(b->fd);
	return NULL;
}

static void backend_start(struct backend *b, struct frontend *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	b->fd = pair[0];
	frontend_adopt(f, pair[1]);
	assert_int_equal(pthread_create(&b->thread, NULL, serve, b), 0);
}

static void backend_end(struct backend *b, struct frontend *f)
{
	frontend_disconnect(f);
	pthread_join(b->thread, NULL);
}

/* The thread is ended: the log is ours. */
static const struct logged *find(const struct backend *b, uint32_t request, unsigned which)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->log[i].h.request == request && !which--)
			return &b->log[i];
	return NULL;
}

#define PROTOCOL                                                                                   \
	(FRONTEND_P_MQ | FRONTEND_P_REPLY_ACK | FRONTEND_P_MEM_SLOTS | FRONTEND_P_STATUS |         \
	 FRONTEND_P_MTU | FRONTEND_P_RARP | FRONTEND_P_RESET_DEVICE)

static struct backend b;
static struct frontend f;
static struct guest_memory memory;
static struct guest_ring ring;

static int setup(void **state)
{
	struct guest_memory_options mo = {.bytes = 1 << 20, .region_count = 3, .hole_bytes = 8192};
	struct guest_ring_options ro = {.size = 64};
	struct errmsg err;

	(void)state;
	memset(&b, 0, sizeof(b));
	b.features = GUEST_F_VERSION_1 | GUEST_F_PROTOCOL | GUEST_F_MQ;
	b.protocol = PROTOCOL;
	frontend_init(&f);
	return guest_memory_init(&memory, &mo, &err) || guest_ring_init(&ring, &memory, &ro, &err);
}

static int teardown(void **state)
{
	(void)state;
	frontend_fini(&f);
	guest_ring_fini(&ring);
	guest_memory_fini(&memory);
	return 0;
}

static void whole_session(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 1, 2, 3};
	struct frontend_vring_addr addr;
	struct frontend_mem_reg reg;
	uint16_t base = 0;

	(void)state;
	backend_start(&b, &f);
	assert_int_equal(frontend_negotiate(&f, ~0ull & ~GUEST_F_MQ, PROTOCOL), 0);
	assert_true(f.features == (GUEST_F_VERSION_1 | GUEST_F_PROTOCOL));
	assert_int_equal(f.queue_pairs, 4);
	assert_int_equal(f.mem_slots, 64);
	assert_int_equal(frontend_set_memory(&f, &memory), 0);
	assert_int_equal(frontend_ring_setup(&f, 1, &ring, 77), 0);
	assert_int_equal(frontend_ring_enable(&f, 1, true), 0);
	assert_int_equal(frontend_set_mtu(&f, 9000), 0);
	assert_int_equal(frontend_send_rarp(&f, mac), 0);
	assert_int_equal(frontend_ring_stop(&f, 1, &base), 0);
	assert_int_equal(base, 77);
	assert_int_equal(frontend_reset_device(&f), 0);
	assert_int_equal(frontend_remove_region(&f, &memory.regions[2]), 0);
	backend_end(&b, &f);

	/* Before REPLY_ACK nothing asks for an answer, afterwards all but the GETs do. */
	for (unsigned i = 0; i < b.count; i++) {
		const struct logged *m = &b.log[i];
		bool get = strncmp(frontend_request_name(m->h.request), "GET_", 4) == 0;
		bool early = m->h.request == FRONTEND_SET_PROTOCOL_FEATURES;

		assert_int_equal(m->h.flags, get || early ? 1 : 9);
	}
	for (unsigned i = 0; i < 3; i++) {
		const struct logged *m = find(&b, FRONTEND_ADD_MEM_REG, i);

		assert_int_equal(m->h.size, 40);
		assert_int_equal(m->fd_count, 1);
		memcpy(&reg, m->payload, sizeof(reg));
		assert_int_equal(reg.region.gpa, memory.regions[i].gpa.addr);
		assert_int_equal(reg.region.offset_bytes, memory.regions[i].offset_bytes);
	}
	assert_null(find(&b, FRONTEND_SET_MEM_TABLE, 0));
	assert_int_equal(find(&b, FRONTEND_SET_VRING_KICK, 0)->fd_count, 1);
	assert_int_equal(find(&b, FRONTEND_SET_VRING_KICK, 0)->payload[0], 1);
	memcpy(&addr, find(&b, FRONTEND_SET_VRING_ADDR, 0)->payload, sizeof(addr));
	assert_int_equal(addr.index, 1);
	assert_ptr_equal(addr.desc, ring.desc);
	assert_ptr_equal(addr.avail, ring.avail);
	assert_ptr_equal(addr.used, ring.used);
	assert_memory_equal(find(&b, FRONTEND_SEND_RARP, 0)->payload, mac, 6);
	assert_int_equal(find(&b, FRONTEND_REM_MEM_REG, 0)->fd_count, 0);
	assert_int_equal(find(&b, FRONTEND_SET_STATUS, 1)->payload[0], 11);
}

/* An old back-end: no protocol features at all, one table for the memory. */
static void old_backend(void **state)
{
	struct frontend_mem_table table;
	const struct logged *m;

	(void)state;
	b.features = GUEST_F_VERSION_1;
	backend_start(&b, &f);
	assert_int_equal(frontend_negotiate(&f, GUEST_F_VERSION_1, PROTOCOL), 0);
	assert_int_equal(f.queue_pairs, 1);
	assert_int_equal(frontend_set_memory(&f, &memory), 0);
	assert_int_equal(frontend_ring_setup(&f, 0, &ring, 0), 0);
	backend_end(&b, &f);
	m = find(&b, FRONTEND_SET_MEM_TABLE, 0);
	assert_int_equal(m->h.flags, 1);
	assert_int_equal(m->h.size, 8 + 3 * 32);
	assert_int_equal(m->fd_count, 3);
	memcpy(&table, m->payload, m->h.size);
	assert_int_equal(table.count, 3);
	assert_int_equal(table.regions[2].uva, memory.regions[2].uva);
	assert_null(find(&b, FRONTEND_GET_PROTOCOL_FEATURES, 0));
}

static void mistakes(void **state)
{
	static const struct {
		enum mistake mistake;
		uint32_t at;
		int error;
		const char *text;
	} cases[] = {
		{REFUSE, FRONTEND_SET_FEATURES, -EREMOTEIO, "SET_FEATURES: the back-end refused"},
		{WRONG_REQUEST, FRONTEND_GET_FEATURES, -EPROTO, "answered by 2 (SET_FEATURES)"},
		{WRONG_FLAGS, FRONTEND_SET_OWNER, -EPROTO, "SET_OWNER: reply has flags 0x1"},
		{WRONG_SIZE, FRONTEND_GET_QUEUE_NUM, -EPROTO, "reply of 9 bytes, expected 8"},
		{SILENT, FRONTEND_GET_PROTOCOL_FEATURES, -ETIMEDOUT, "no answer in time"},
		{CLOSE, FRONTEND_GET_MAX_MEM_SLOTS, -ECONNRESET, "the back-end closed"},
		{HALF_THEN_CLOSE, FRONTEND_SET_STATUS, -ECONNRESET, "the back-end closed"},
		{BYTE_BY_BYTE, FRONTEND_GET_FEATURES, 0, NULL},
		{SURPLUS_FD, FRONTEND_GET_FEATURES, 0, NULL},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		int before = dup(0), after;

		close(before);
		b.mistake = cases[i].mistake;
		b.at = cases[i].at;
		b.count = 0;
		f.timeout_ms = b.mistake == SILENT ? 50 : 5000;
		backend_start(&b, &f);
		assert_int_equal(frontend_negotiate(&f, b.features, PROTOCOL), cases[i].error);
		if (cases[i].text && !strstr(f.err.text, cases[i].text))
			fail_msg("\"%s\" is not in \"%s\"", cases[i].text, f.err.text);
		backend_end(&b, &f);
		/* No descriptor was left open. */
		after = dup(0);
		close(after);
		assert_int_equal(after, before);
	}
}

static void raw_messages(void **state)
{
	uint8_t big[3 * FRONTEND_PAYLOAD_MAX] = {0};
	uint64_t value;
	uint32_t size;
	int fds[5] = {0, 0, 0, 0, 0}, fd;

	(void)state;
	backend_start(&b, &f);
	assert_int_equal(frontend_send_raw(&f, 4711, 9, big, 4000, fds, 5), 0);
	assert_int_equal(frontend_recv_reply(&f, 0, &value, sizeof(value), &size, &fd), 0);
	assert_int_equal(size, 8);
	assert_int_equal(fd, -1);

	assert_int_equal(frontend_send_raw(&f, 1, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(frontend_recv_reply(&f, 1, &value, sizeof(value), NULL, NULL), 0);
	assert_true(value == b.features);
	backend_end(&b, &f);
	assert_int_equal(b.log[0].h.request, 4711);
	assert_int_equal(b.log[0].fd_count, 5);
	assert_int_equal(b.log[0].h.size, 4000);
	assert_int_equal(frontend_send_raw(&f, 1, 1, NULL, 0, NULL, 0), -ENOTCONN);
}

/* Sockets by path: we connect, we listen, the other side goes and comes back. */
static void sockets(void **state)
{
	char dir[] = "/tmp/lastref-test-XXXXXX", path[64], longer[200];
	struct frontend other;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(frontend_connect(&f, path, 0), -ENOENT);
	assert_int_equal(frontend_connect(&f, longer, 0), -ENAMETOOLONG);

	frontend_init(&other);
	assert_int_equal(frontend_listen(&other, path), 0);
	assert_int_equal(frontend_accept(&other, 10), -ETIMEDOUT);
	assert_int_equal(frontend_connect(&f, path, 1000), 0);
	assert_int_equal(frontend_accept(&other, 1000), 0);
	assert_true(frontend_is_alive(&f));
	frontend_disconnect(&other);
	assert_false(frontend_is_alive(&f));
	assert_int_equal(frontend_send_raw(&f, 1, 1, NULL, 0, NULL, 0), -ECONNRESET);
	assert_int_equal(frontend_reopen(&f, 1000), 0);
	assert_int_equal(frontend_reopen(&other, 1000), 0);
	assert_true(frontend_is_alive(&f));
	assert_true(frontend_is_alive(&other));
	frontend_fini(&other);
	frontend_fini(&other);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(rmdir(dir), 0);
}

static void notifications(void **state)
{
	(void)state;
	backend_start(&b, &f);
	assert_int_equal(frontend_negotiate(&f, b.features, PROTOCOL), 0);
	assert_int_equal(frontend_ring_setup(&f, 0, &ring, 0), -EINVAL); /* no memory yet */
	assert_int_equal(frontend_set_memory(&f, &memory), 0);
	frontend_kick(&f, 0); /* no ring yet: nothing happens */
	assert_int_equal(frontend_ring_setup(&f, 0, &ring, 0), 0);
	assert_int_equal(frontend_clear_call(&f, 0), 0);
	assert_int_equal(eventfd_write(f.vrings[0].call, 3), 0);
	assert_int_equal(frontend_clear_call(&f, 0), 3);
	assert_int_equal(frontend_clear_call(&f, 0), 0);
	frontend_kick(&f, 0);
	frontend_kick(&f, 0);
	f.vrings[1].call = f.vrings[0].kick;
	f.vrings[0].kick = -1;
	assert_int_equal(frontend_clear_call(&f, 1), 2);
	backend_end(&b, &f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_session, setup, teardown),
		cmocka_unit_test_setup_teardown(old_backend, setup, teardown),
		cmocka_unit_test_setup_teardown(mistakes, setup, teardown),
		cmocka_unit_test_setup_teardown(raw_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(sockets, setup, teardown),
		cmocka_unit_test_setup_teardown(notifications, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
