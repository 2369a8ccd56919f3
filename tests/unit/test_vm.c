/* SPDX-License-Identifier: BSD-2-Clause */
/* The vm port as a whole: sockets by the opener, a scripted front-end, a worker thread that works
 * its rings, the states that the operator sees.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/opener.h"
#include "engine/engine.h"
#include "port/types.h"
#include "port/vm_control.h"
#include "script.h"
#include "switch/bridge.h"

#define BIT30 VIRTIO_PROTOCOL_FEATURES
#define USUAL (VIRTIO_VERSION_1 | VIRTIO_NET_MRG_RXBUF | BIT30)

static struct port_env env;
static char folder[64];
static unsigned fds_before;

/* A guest of the test: its port, its front-end, its memory. */
struct guest {
	struct port *port;
	struct script script;
	int kick_fd;
	int memory_fd;
	uint8_t *memory;
	char path[108];
};

static int set_up(void **state)
{
	struct bridge_config bridge = {
		.ageing_s = 300, .hold_limit_ns = NS_PER_MS, .zerocopy = true};
	struct engine_config engine = {.worker_count = 1, .cpus = {-1}, .threads = true};

	(void)state;
	fds_before = script_fds_open();
	snprintf(folder, sizeof(folder), "/tmp/lastref-test-vm-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(opener_start(&env.opener), 0);
	assert_true(sd_event_new(&env.loop) >= 0);
	assert_int_equal(bridge_new(&bridge, &env.bridge), 0);
	assert_int_equal(engine_new(&engine, env.bridge, &env.engine), 0);
	assert_int_equal(engine_start(env.engine), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_free(env.engine);
	bridge_free(env.bridge);
	sd_event_unref(env.loop);
	opener_stop(env.opener);
	assert_int_equal(rmdir(folder), 0); /* no socket was left */
	assert_int_equal(mem_regions_mapped(), 0);
	assert_int_equal(script_fds_open(), fds_before);
	return 0;
}

static int port_open(const char *name, struct port_config config, struct port **ret_port,
		     struct errmsg *err)
{
	err->text[0] = '\0';
	for (unsigned i = 0; i < VM_KEY_COUNT; i++)
		if (!config.value[i])
			config.value[i] = port_vm_ops.keys[i].fallback;
	return port_new(&env, name, &port_vm_ops, &config, ret_port, err);
}

static void run_ms(unsigned ms)
{
	struct script s = {.loop = env.loop};

	script_run_ms(&s, ms);
}

static void wait_state(const struct port *p, enum port_state state)
{
	for (int i = 0; i < 300 && atomic_load(&p->state) != (uint32_t)state; i++)
		run_ms(10);
	assert_string_equal(port_state_name((enum port_state)atomic_load(&p->state)),
			    port_state_name(state));
}

static int connect_path(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void guest_open(struct guest *g, const char *name, struct port_config config)
{
	struct errmsg err;

	assert_int_equal(mem_init(),
			 0); /* here: cmocka's own handler stands in front of each test */
	memset(g, 0, sizeof(*g));
	snprintf(g->path, sizeof(g->path), "%s/%s", folder, name);
	config.value[VM_KEY_SOCKET] = g->path;
	if (port_open(name, config, &g->port, &err))
		fail_msg("%s", err.text);
	g->script = (struct script){.loop = env.loop, .fd = -1};
	g->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->memory_fd = memfd_create("guest", MFD_CLOEXEC); /* cannot be sealed */
	assert_int_equal(ftruncate(g->memory_fd, SCRIPT_MEMORY), 0);
	g->memory = mmap(NULL, SCRIPT_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
	assert_ptr_not_equal(g->memory, MAP_FAILED);
}

static void guest_connect(struct guest *g)
{
	g->script.fd = connect_path(g->path);
	run_ms(1);
	assert_int_equal(atomic_load(&g->port->state), PORT_CONNECTED);
}

/* Rings 0 and 1 run and are enabled. */
static void guest_start(struct guest *g, uint64_t features)
{
	struct script *s = &g->script;

	script_negotiate(s, features);
	assert_int_equal(script_tell_memory(s, g->memory_fd), 0);
	for (uint32_t i = 0; i < 2; i++) {
		script_set_up_ring(s, i, 256);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, i, g->kick_fd), 0);
		if (!(features & BIT30))
			continue;
		assert_int_equal(atomic_load(&g->port->state), PORT_CONNECTED);
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, i, 1), 0);
	}
	assert_int_equal(atomic_load(&g->port->state), PORT_RUNNING);
}

static void guest_close(struct guest *g)
{
	port_free(g->port);
	if (g->script.fd >= 0)
		close(g->script.fd);
	close(g->kick_fd);
	close(g->memory_fd);
	munmap(g->memory, SCRIPT_MEMORY);
}

static struct virtio_desc *desc_of(struct guest *g, uint32_t ring)
{
	return (void *)(g->memory + ring * 0x20000);
}

static struct virtio_avail *avail_of(struct guest *g, uint32_t ring)
{
	return (void *)(g->memory + ring * 0x20000 + 0x10000);
}

static struct virtio_used *used_of(struct guest *g, uint32_t ring)
{
	return (void *)(g->memory + ring * 0x20000 + 0x18000);
}

static void kick(struct guest *g)
{
	uint64_t one = 1;

	assert_int_equal(write(g->kick_fd, &one, sizeof(one)), sizeof(one));
}

/* One descriptor at 0x80000 + 0x1000 * @head, offered as the ring's next. */
static void post(struct guest *g, uint32_t ring, uint16_t head, uint32_t bytes, uint16_t flags)
{
	struct virtio_avail *avail = avail_of(g, ring);
	uint16_t index = le16_get(avail->index);

	desc_of(g, ring)[head].addr = le64_make(0x80000 + 0x1000ull * head);
	desc_of(g, ring)[head].len_flags_next = le64_make(bytes | (uint64_t)flags << 32);
	avail->ring[index % 256] = le16_make(head);
	mem_store16_release(&avail->index, (uint16_t)(index + 1));
	kick(g);
}

static void wait_used(struct guest *g, uint32_t ring, uint16_t count)
{
	for (int i = 0; i < 2000; i++) {
		if (mem_load16_acquire(&used_of(g, ring)->index) == count)
			return;
		run_ms(1);
	}
	fail_msg("ring %u used %u, expected %u", ring, le16_get(used_of(g, ring)->index), count);
}

/* The port's life, states, traffic */

static void two_guests_exchange_a_frame(void **state)
{
	static const uint8_t header[14] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
					   0,	 0,    0,    0,	   1,	 0x88, 0xb5};
	struct guest a, b;

	(void)state;
	guest_open(&a, "a", (struct port_config){0});
	guest_open(&b, "b", (struct port_config){0});
	assert_int_equal(atomic_load(&a.port->state), PORT_WAITING);
	guest_connect(&a);
	guest_connect(&b);
	guest_start(&a, USUAL);
	guest_start(&b, USUAL & ~BIT30); /* enabled from the start */
	for (uint16_t round = 0; round < 3; round++) {
		post(&b, 0, round, 2048, 2 /* WRITE */);
		memcpy(a.memory + 0x80000 + 0x1000 * round + 12, header, sizeof(header));
		memset(a.memory + 0x80000 + 0x1000 * round + 26, 0x30 + round, 500);
		post(&a, 1, round, 12 + 14 + 500, 0);
		wait_used(&a, 1, (uint16_t)(round + 1));
		wait_used(&b, 0, (uint16_t)(round + 1));
		assert_int_equal(le32_get(used_of(&b, 0)->ring[round].bytes), 12 + 514);
		assert_memory_equal(b.memory + 0x80000 + 0x1000 * round + 12,
				    a.memory + 0x80000 + 0x1000 * round + 12, 514);
	}
	assert_int_equal(script_stop_ring(&a.script, 1), 3);
	assert_int_equal(script_stop_ring(&a.script, 0), 0);
	assert_int_equal(atomic_load(&a.port->state), PORT_CONNECTED);
	assert_true(a.port->why[0] != '\0');
	/* it goes away and comes back */
	close(b.script.fd);
	wait_state(b.port, PORT_WAITING);
	guest_connect(&b);
	guest_start(&b, USUAL);
	guest_close(&a);
	guest_close(&b);
}

static void broken_ring_heals_by_restart(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	guest_connect(&g);
	guest_start(&g, USUAL);
	mem_store16_release(&avail_of(&g, 1)->index, 257); /* more than the ring holds */
	kick(&g);
	wait_state(g.port, PORT_BROKEN);
	assert_non_null(strstr(g.port->why, "ring 1"));
	assert_int_equal(script_ask(&g.script, VHOST_GET_QUEUE_NUM), 16);
	script_stop_ring(&g.script, 1);
	mem_store16_release(&avail_of(&g, 1)->index, 0);
	assert_int_equal(script_tell_fd(&g.script, VHOST_SET_VRING_KICK, 1, g.kick_fd), 0);
	assert_int_equal(atomic_load(&g.port->state), PORT_RUNNING);
	post(&g, 1, 5, 12 + 60, 0);
	wait_used(&g, 1, 1);
	guest_close(&g);
}

static void truncated_memory_breaks_the_port(void **state) /* 46 */
{
	struct guest g;

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	guest_connect(&g);
	guest_start(&g, USUAL);
	assert_int_equal(ftruncate(g.memory_fd, 0), 0);
	kick(&g); /* somebody has to touch it */
	wait_state(g.port, PORT_BROKEN);
	assert_non_null(strstr(g.port->why, "truncated"));
	assert_int_equal(script_ask(&g.script, VHOST_GET_QUEUE_NUM), 16);
	assert_int_equal(ftruncate(g.memory_fd, SCRIPT_MEMORY), 0);
	close(g.script.fd);
	g.script.fd = -1;
	wait_state(g.port, PORT_WAITING);
	guest_connect(&g);
	guest_start(&g, USUAL); /* whole again */
	post(&g, 1, 0, 12 + 60, 0);
	wait_used(&g, 1, 1);
	guest_close(&g);
}

static const char *note_of(const struct port *p)
{
	static char note[ERRMSG_BYTES];
	json_t *show = json_object();
	const char *text;

	port_vm_ops.show((struct port *)(uintptr_t)p, show);
	text = json_string_value(json_object_get(show, "note"));
	snprintf(note, sizeof(note), "%s", text ? text : "");
	json_decref(show);
	return note;
}

/* Kicks, but nothing can be seen: its memory is somebody else's copy. */
static void private_memory_is_told(void **state)
{
	struct guest g, h;

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	guest_open(&h, "b", (struct port_config){0});
	guest_connect(&g);
	guest_connect(&h);
	guest_start(&g, USUAL);
	guest_start(&h, USUAL);
	post(&h, 0, 0, 2048, 2); /* this one is shared */
	for (int i = 0; i < 34; i++) {
		kick(&g);
		kick(&h);
		run_ms(100);
	}
	assert_non_null(strstr(note_of(g.port), "share=on"));
	assert_non_null(strstr(g.port->why, "share=on"));
	assert_string_equal(note_of(h.port), "");
	assert_string_equal(h.port->why, "");
	guest_close(&g);
	guest_close(&h);
}

static void offloads_and_mtu_follow_the_guest(void **state)
{
	struct port_config config = {.value[VM_KEY_MTU] = "4000"};
	struct guest g;

	(void)state;
	guest_open(&g, "a", config);
	assert_int_equal(atomic_load(&g.port->mtu), 4000);
	guest_connect(&g);
	assert_true(script_ask(&g.script, VHOST_GET_FEATURES) & VIRTIO_NET_MTU);
	script_negotiate(&g.script, USUAL | VIRTIO_NET_GUEST_CSUM | VIRTIO_NET_GUEST_TSO4);
	assert_int_equal(atomic_load(&g.port->offloads), PORT_CSUM | PORT_TSO4);
	assert_int_equal(
		script_tell_u64(&g.script, VHOST_SET_FEATURES, USUAL | VIRTIO_NET_GUEST_TSO4),
		0); /* without the checksum it means nothing */
	assert_int_equal(atomic_load(&g.port->offloads), 0);
	assert_int_equal(script_tell_u64(&g.script, VHOST_NET_SET_MTU, 1500), 0);
	assert_int_equal(atomic_load(&g.port->mtu), 1500);
	assert_int_equal(script_tell_u64(&g.script, VHOST_NET_SET_MTU, 9000), 1);
	close(g.script.fd);
	g.script.fd = -1;
	wait_state(g.port, PORT_WAITING);
	assert_int_equal(atomic_load(&g.port->mtu), 4000);
	guest_close(&g);
}

static void rarp_tells_the_switch(void **state)
{
	const uint8_t rarp[8] = {2, 0, 0, 0, 0, 0x77};
	struct guest g;
	json_t *fdb;
	char *text;

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	guest_connect(&g);
	script_negotiate(&g.script, USUAL);
	assert_int_equal(script_tell(&g.script, VHOST_SEND_RARP, rarp, 8, NULL, 0), 0);
	fdb = bridge_fdb_show(env.bridge);
	text = json_dumps(fdb, 0);
	assert_non_null(strstr(text, "02:00:00:00:00:77"));
	free(text);
	json_decref(fdb);
	guest_close(&g);
}

static void call_fd_that_blocks_holds_nobody(void **state) /* 24 */
{
	struct guest g;
	uint64_t full = UINT64_MAX - 1;
	int call_fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	guest_connect(&g);
	guest_start(&g, USUAL);
	assert_int_equal(write(call_fd, &full, 8), 8);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(script_tell_fd(&g.script, VHOST_SET_VRING_CALL, 1, call_fd), 0);
		fcntl(call_fd, F_SETFL, 0); /* blocking again */
		post(&g, 1, (uint16_t)i, 12 + 60, 0);
		wait_used(&g, 1, (uint16_t)(i + 1));
	}
	/* an empty one is signalled once when it is told: an interrupt may have gone to the old */
	assert_int_equal(read(call_fd, &full, 8), 8);
	assert_int_equal(script_tell_fd(&g.script, VHOST_SET_VRING_CALL, 1, call_fd), 0);
	assert_int_equal(read(call_fd, &full, 8), 8);
	assert_true(full >= 1);
	close(call_fd);
	guest_close(&g);
}

static void freed_while_running(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	guest_connect(&g);
	guest_start(&g, USUAL);
	assert_int_equal(access(g.path, F_OK), 0);
	guest_close(&g);
	assert_int_equal(access(g.path, F_OK), -1);
}

/* The VMM listens; it comes late, goes, and comes back. */
static void client_mode(void **state)
{
	struct port_config config = {.value[VM_KEY_MODE] = "client"};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct guest g;

	(void)state;
	guest_open(&g, "a", config);
	run_ms(150);
	assert_int_equal(atomic_load(&g.port->state), PORT_WAITING);
	assert_non_null(strstr(g.port->why, g.path));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", g.path);
	for (int round = 0; round < 2; round++) {
		int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
		assert_int_equal(listen(listen_fd, 1), 0);
		wait_state(g.port, PORT_CONNECTED);
		g.script.fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		guest_start(&g, USUAL);
		close(g.script.fd);
		g.script.fd = -1;
		close(listen_fd);
		unlink(g.path);
		wait_state(g.port, PORT_WAITING);
	}
	guest_close(&g);
}

/* What the operator says */

static void refused(unsigned key, const char *value, const char *said)
{
	struct port_config config = {0};
	struct errmsg err;
	struct port *p;
	char path[108];

	snprintf(path, sizeof(path), "%s/x", folder);
	config.value[VM_KEY_SOCKET] = path;
	config.value[key] = value;
	assert_true(port_open("x", config, &p, &err) < 0);
	if (!strstr(err.text, said))
		fail_msg("'%s' does not say '%s'", err.text, said);
	assert_int_equal(access(path, F_OK), -1);
}

static void operators_mistakes(void **state)
{
	char long_path[200], no_folder[80];

	(void)state;
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	snprintf(no_folder, sizeof(no_folder), "%s/none/a", folder);
	refused(VM_KEY_SOCKET, long_path, "107");
	refused(VM_KEY_SOCKET, "", "path");
	refused(VM_KEY_SOCKET, no_folder, "does not exist");
	refused(VM_KEY_USER, "no-such-user", "no-such-user");
	refused(VM_KEY_GROUP, "no-such-group", "no-such-group");
	refused(VM_KEY_MAC, "02:00:00:00:00", "mac");
	refused(VM_KEY_MAC, "02:00:00:00:00:001", "mac");
	refused(VM_KEY_MAC, "02:00:00:00:00:1x", "mac");
	refused(VM_KEY_FEATURES, "-paked", "-paked");
	refused(VM_KEY_FEATURES, "packed", "packed");
	refused(VM_KEY_FEATURES, "-in_order,", "expected");
	refused(VM_KEY_FEATURES, "-protocol_features", "expected");
}

static void socket_is_taken(void **state)
{
	struct port_config config = {0};
	struct errmsg err;
	struct guest g;
	struct port *p;

	(void)state;
	guest_open(&g, "a", config);
	config.value[VM_KEY_SOCKET] = g.path;
	assert_true(port_open("b", config, &p, &err) < 0);
	assert_non_null(strstr(err.text, "listens"));
	guest_connect(&g); /* the first one still does */
	guest_close(&g);
}

static void socket_belongs_to_whom_it_should(void **state)
{
	struct port_config config = {.value[VM_KEY_PERM] = "0640", .value[VM_KEY_GROUP] = "0"};
	struct guest g, h;
	struct stat st;

	(void)state;
	if (getuid() != 0)
		skip();
	guest_open(&g, "a", (struct port_config){0});
	guest_open(&h, "b", config);
	assert_int_equal(stat(g.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(stat(h.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	guest_close(&g);
	guest_close(&h);
	config.value[VM_KEY_USER] = "nobody";
	config.value[VM_KEY_GROUP] = "4242";
	guest_open(&g, "a", config);
	assert_int_equal(stat(g.path, &st), 0);
	assert_int_equal(st.st_uid, getpwnam("nobody")->pw_uid);
	assert_int_equal(st.st_gid, 4242);
	guest_close(&g);
}

static void features_left_out(void **state)
{
	struct port_config config = {.value[VM_KEY_FEATURES] = "-packed,-in_order,-event_idx",
				     .value[VM_KEY_QUEUES] = "1"};
	struct guest g;
	uint64_t offered;

	(void)state;
	guest_open(&g, "a", config);
	guest_connect(&g);
	offered = script_ask(&g.script, VHOST_GET_FEATURES);
	assert_int_equal(offered & (VIRTIO_IN_ORDER | VIRTIO_EVENT_IDX | VIRTIO_PACKED), 0);
	assert_int_equal(offered & VIRTIO_NET_MQ, 0);
	assert_int_equal(offered & VIRTIO_NET_MTU, 0);
	assert_true(offered & VIRTIO_NET_GUEST_ANNOUNCE);
	assert_true(offered & VIRTIO_INDIRECT);
	assert_int_equal(offered >> 36, 0); /* nothing that never works here: RING_RESET, RSS... */
	assert_int_equal(script_ask(&g.script, VHOST_GET_QUEUE_NUM), 1);
	guest_close(&g);
}

static void configuration_recreates_the_port(void **state)
{
	struct port_config config = {
		.value[VM_KEY_QUEUES] = "4",
		.value[VM_KEY_PERM] = "0600",
		.value[VM_KEY_MAC] = "02:00:00:00:00:01",
		.value[VM_KEY_MTU] = "9000",
		.value[VM_KEY_FEATURES] = "-in_order",
	};
	char words[400], expected[400];
	struct guest g;

	(void)state;
	guest_open(&g, "with \"blanks", config);
	port_vm_ops.show_config(g.port, words, sizeof(words));
	snprintf(expected, sizeof(expected),
		 "vm socket \"%s/with \\\"blanks\" perm 0600 queues 4 mac 02:00:00:00:00:01 "
		 "mtu 9000 features -in_order",
		 folder);
	assert_string_equal(words, expected);
	guest_close(&g);
	guest_open(&g, "a", (struct port_config){0});
	port_vm_ops.show_config(g.port, words, sizeof(words));
	snprintf(expected, sizeof(expected), "vm socket %s", g.path);
	assert_string_equal(words, expected);
	guest_close(&g);
}

static void show_tells_all(void **state)
{
	json_t *show = json_object(), *pair;
	struct guest g;

	(void)state;
	guest_open(&g, "a", (struct port_config){0});
	port_vm_ops.show(g.port, show);
	assert_null(json_object_get(show, "peer"));
	json_object_clear(show);
	guest_connect(&g);
	guest_start(&g, USUAL);
	port_vm_ops.show(g.port, show);
	assert_string_equal(json_string_value(json_object_get(show, "mode")), "server");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(show, "peer"), "pid")),
			 getpid());
	assert_int_equal(json_array_size(json_object_get(show, "rings")), 2);
	assert_int_equal(json_array_size(json_object_get(show, "pairs")), 1);
	pair = json_array_get(json_object_get(show, "pairs"), 0);
	assert_int_equal(json_integer_value(json_object_get(pair, "lent")), 0);
	assert_int_equal(json_integer_value(json_object_get(pair, "worker")), 0);
	json_decref(show);
	guest_close(&g);
}

static void types_are_found(void **state)
{
	(void)state;
	assert_ptr_equal(port_type_find("vm"), &port_vm_ops);
	assert_null(port_type_find("vmx"));
	assert_non_null(port_type_at(0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_guests_exchange_a_frame),
		TEST(broken_ring_heals_by_restart),
		TEST(truncated_memory_breaks_the_port),
		TEST(private_memory_is_told),
		TEST(offloads_and_mtu_follow_the_guest),
		TEST(rarp_tells_the_switch),
		TEST(call_fd_that_blocks_holds_nobody),
		TEST(freed_while_running),
		TEST(client_mode),
		TEST(operators_mistakes),
		TEST(socket_is_taken),
		TEST(socket_belongs_to_whom_it_should),
		TEST(features_left_out),
		TEST(configuration_recreates_the_port),
		TEST(show_tells_all),
		TEST(types_are_found),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
