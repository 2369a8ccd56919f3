/* SPDX-License-Identifier: BSD-2-Clause */
/* The tap port against the kernel, in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "control/opener.h"
#include "lib/fake_port.h"
#include "port/tap.h"
#include "port/types.h"

#define DEV		"lrtap0"
#define HOST_IP		"10.77.0.1"
#define GUEST_IP	"10.77.0.2"
#define GUEST_MAC	0x02aa00000002ull
#define BROADCAST	0xffffffffffffull
#define TYPE		0x88b5 /* for local experiments */
#define FRAME_BYTES_MAX 66000

struct fixture {
	struct port_env env;
	struct bridge *br;
	struct engine *engine;
	struct worker *w;
	struct port *tap;
	struct fake_port *guest;
	int packet_fd; /* sees the device from the kernel's side */
	uint8_t data[FRAME_BURST][FRAME_BYTES_MAX];
};

static bool have_namespace;

/* A network namespace of our own, in which the kernel says nothing by itself. */
static bool namespace_enter(void)
{
	bool ok = false;
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT; /* no IPv6 at all */
	ok = write(fd, "1", 1) == 1;
	close(fd);
	return ok;
}

static int no_uring(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
	(void)entries;
	(void)ring;
	(void)params;
	return -ENOSYS;
}

static int interface_ioctl(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = ioctl(fd, request, ifr);

	close(fd);
	return ret;
}

static void address_set(const char *dev, const char *ip)
{
	struct ifreq ifr = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	inet_pton(AF_INET, ip, &in.sin_addr);
	memcpy(&ifr.ifr_addr, &in, sizeof(in));
	assert_int_equal(interface_ioctl(SIOCSIFADDR, &ifr), 0);
	inet_pton(AF_INET, "255.255.255.0", &in.sin_addr);
	memcpy(&ifr.ifr_addr, &in, sizeof(in));
	assert_int_equal(interface_ioctl(SIOCSIFNETMASK, &ifr), 0);
}

static void link_set(const char *dev, bool up)
{
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	assert_int_equal(interface_ioctl(SIOCGIFFLAGS, &ifr), 0);
	if (up)
		ifr.ifr_flags |= IFF_UP;
	else
		ifr.ifr_flags = (short)(ifr.ifr_flags & ~IFF_UP);
	assert_int_equal(interface_ioctl(SIOCSIFFLAGS, &ifr), 0);
}

/* As "ip link del" does. Return: 0, negative errno */
static int link_delete(const char *dev)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_DELLINK,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.info = {.ifi_index = (int)if_nametoindex(dev)},
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} reply = {.error = {.error = -EIO}};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
	assert_true(recv(fd, &reply, sizeof(reply), MSG_TRUNC) > 0);
	close(fd);
	return reply.error.error;
}

static uint64_t mac_of(const char *dev)
{
	struct ifreq ifr = {0};
	uint64_t mac = 0;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	assert_int_equal(interface_ioctl(SIOCGIFHWADDR, &ifr), 0);
	for (unsigned i = 0; i < 6; i++)
		mac = mac << 8 | (uint8_t)ifr.ifr_hwaddr.sa_data[i];
	return mac;
}

/* Sees what arrives at @dev and can transmit on it; virtio-net headers both ways. */
static int packet_socket(const char *dev, uint16_t type)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(type),
				 .sll_ifindex = (int)if_nametoindex(dev)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(type));
	int one = 1, room = 8 << 20;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	assert_int_equal(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
	return fd;
}

static int tap_open(struct fixture *x, const char *queues, struct errmsg *err)
{
	struct port_config config = {.value = {DEV, NULL, queues}};

	return port_new(&x->env, "tap", &port_tap_ops, &config, &x->tap, err);
}

static int setup_with(void **state, unsigned workers, const char *queues)
{
	struct bridge_config bridge = {.zerocopy = true};
	struct engine_config engine = {.worker_count = workers};
	struct fixture *x = calloc(1, sizeof(*x));
	struct errmsg err = {""};

	*state = x;
	if (!x)
		return -1;
	x->packet_fd = -1;
	if (!have_namespace)
		return 0;
	for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++)
		engine.cpus[i] = -1;
	assert_int_equal(opener_start(&x->env.opener), 0);
	assert_true(sd_event_new(&x->env.loop) >= 0);
	assert_int_equal(bridge_new(&bridge, &x->br), 0);
	assert_int_equal(engine_new(&engine, x->br, &x->engine), 0);
	x->env.bridge = x->br;
	x->env.engine = x->engine;
	x->w = engine_worker(x->engine, 0);
	x->guest = fake_port_new(x->br, "guest");
	if (tap_open(x, queues, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	x->packet_fd = packet_socket(DEV, TYPE);
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 1, "1");
}

static int setup_two_workers(void **state)
{
	return setup_with(state, 2, "2");
}

static int setup_without_uring(void **state)
{
	int ret;

	uring_setup = no_uring;
	ret = setup(state);
	uring_setup = io_uring_queue_init_params;
	return ret;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	if (x->packet_fd >= 0)
		close(x->packet_fd);
	if (x->tap)
		port_free(x->tap);
	if (x->engine) {
		fake_port_free(x->br, x->guest);
		engine_free(x->engine);
		bridge_free(x->br);
		sd_event_unref(x->env.loop);
		opener_stop(x->env.opener);
		/* The device went with its last queue. */
		for (unsigned i = 0; i < 200 && if_nametoindex(DEV); i++)
			usleep(10000);
		assert_int_equal(if_nametoindex(DEV), 0);
	}
	free(x);
	return 0;
}

/* The fixture, when this machine can run the test. */
static struct fixture *need(void **state)
{
	if (!have_namespace)
		skip();
	return *state;
}

static int64_t shown(const struct fixture *x, const char *key)
{
	json_t *o = json_object(), *value;
	int64_t n;

	x->tap->ops->show(x->tap, o);
	value = json_object_get(o, key);
	assert_non_null(value);
	n = json_is_boolean(value) ? json_boolean_value(value) : json_integer_value(value);
	json_decref(o);
	return n;
}

/* A frame of the guest's into the burst; its payload is told by @n. */
static struct frame *put(struct fixture *x, uint64_t to, uint32_t bytes, unsigned n)
{
	uint8_t *data = x->data[x->w->burst.count];

	for (uint32_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(n * 7 + i);
	fake_ethernet(data, to, GUEST_MAC, TYPE);
	return fake_frame(x->w, data, bytes, FRAME_SNAPSHOT_BYTES, bytes > 10000 ? 4096 : 1000);
}

static void send_all(struct fixture *x)
{
	fake_turn(x->br, x->w, &x->guest->port);
}

/* Next frame that the kernel got on the device. Return: bytes, without header; -1: none */
static ssize_t kernel_got(const struct fixture *x, uint8_t *buffer, struct virtio_net_hdr *h)
{
	struct iovec iov[] = {{h, sizeof(*h)}, {buffer, FRAME_BYTES_MAX}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t ret = recvmsg(x->packet_fd, &msg, 0);

	return ret < 0 ? -1 : ret - (ssize_t)sizeof(*h);
}

static void check_kernel_got(const struct fixture *x, const uint8_t *data, uint32_t bytes)
{
	static uint8_t got[FRAME_BYTES_MAX];
	struct virtio_net_hdr h;

	assert_int_equal(kernel_got(x, got, &h), bytes);
	assert_memory_equal(got, data, bytes);
}

static void kernel_sends(const struct fixture *x, struct virtio_net_hdr *h, uint8_t *data,
			 size_t bytes)
{
	struct iovec iov[] = {{h, sizeof(*h)}, {data, bytes}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	assert_int_equal(sendmsg(x->packet_fd, &msg, 0), sizeof(*h) + bytes);
}

static void turns(struct fixture *x, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		engine_run_once(x->engine);
}

static uint64_t count_of(const struct port *p, size_t offset, unsigned workers)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < workers; i++)
		sum += counter_get(
			(const struct counter *)((const char *)&p->counters[i] + offset));
	return sum;
}

#define COUNT(p, member) count_of(p, offsetof(struct port_counters, member), 1)
#define DROPS(p, reason) COUNT(p, drops[reason])

/* All sizes, whole, in order; a burst is what a socket's buffer holds without privileges. */
static const struct {
	uint32_t bytes;
	unsigned burst;
} sizes[] = {{14, 32}, {60, 32}, {128, 32}, {129, 32}, {1514, 32}, {9014, 8}, {65000, 2}};

#define SIZES_FRAMES (5 * 32 + 8 + 2)

static void send_and_check(struct fixture *x, uint32_t bytes, unsigned count, unsigned *n)
{
	for (unsigned i = 0; i < count; i++)
		put(x, BROADCAST, bytes, (*n)++);
	send_all(x);
	for (unsigned i = 0; i < count; i++)
		check_kernel_got(x, x->data[i], bytes);
}

static void all_sizes_arrive(struct fixture *x)
{
	unsigned sent = 0;

	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		send_and_check(x, sizes[s].bytes, 1, &sent);
		send_and_check(x, sizes[s].bytes, sizes[s].burst, &sent);
	}
	assert_int_equal(COUNT(x->tap, out_frames), sent);
	assert_int_equal(COUNT(x->tap, in_frames), 0);
}

static void frames_to_the_kernel(void **state)
{
	struct fixture *x = need(state);

	all_sizes_arrive(x);
	if (!shown(x, "io_uring"))
		skip(); /* this host has none */
	assert_int_equal(shown(x, "write_batches"), ARRAY_SIZE(sizes));
	assert_int_equal(shown(x, "write_batched"), SIZES_FRAMES);
	assert_int_equal(shown(x, "write_singles"), ARRAY_SIZE(sizes));
}

static void without_uring_one_by_one(void **state)
{
	struct fixture *x = need(state);

	all_sizes_arrive(x);
	assert_int_equal(shown(x, "io_uring"), 0);
	assert_int_equal(shown(x, "write_batches"), 0);
	assert_int_equal(shown(x, "write_singles"), SIZES_FRAMES + ARRAY_SIZE(sizes));
}

/* A ring that fails in use: the burst is written all the same, and from then on singly. */
static void ring_that_fails(void **state)
{
	struct fixture *x = need(state);
	struct tap *tap = x->tap->impl;
	int ring_fd;

	if (!shown(x, "io_uring"))
		skip();
	ring_fd = tap->outs[0].uring.ring.enter_ring_fd;
	tap->outs[0].uring.ring.enter_ring_fd = x->packet_fd; /* no ring: EOPNOTSUPP */
	for (unsigned i = 0; i < 3; i++)
		put(x, BROADCAST, 100, i);
	send_all(x);
	for (unsigned i = 0; i < 3; i++)
		check_kernel_got(x, x->data[i], 100);
	assert_int_equal(shown(x, "io_uring"), 0);
	assert_int_equal(shown(x, "write_singles"), 3);
	tap->outs[0].uring.ring.enter_ring_fd = ring_fd;
}

static void what_the_kernel_refuses_is_counted(void **state)
{
	struct fixture *x = need(state);
	char byte;

	/* No source of ours lets such a request pass: the kernel is the second one to check. */
	put(x, BROADCAST, 100, 0)->offload = (struct lr_offload){
		.flags = LR_OFFLOAD_NEEDS_CSUM, .csum_start = 5000, .csum_offset = 16};
	put(x, BROADCAST, 100, 1);
	put(x, BROADCAST, 100, 2)->offload = (struct lr_offload){
		.flags = LR_OFFLOAD_NEEDS_CSUM, .gso_type = LR_GSO_TCPV4, .gso_size = 0};
	send_all(x);
	check_kernel_got(x, x->data[1], 100);
	assert_int_equal(DROPS(x->tap, LR_DROP_EGRESS_ERROR), 2);
	assert_int_equal(COUNT(x->tap, out_frames), 1);
	link_set(DEV, false);
	for (unsigned i = 0; i < 5; i++)
		put(x, BROADCAST, 100, i);
	send_all(x);
	assert_int_equal(DROPS(x->tap, LR_DROP_RX_DOWN), 5);
	link_set(DEV, true);
	assert_int_equal(recv(x->packet_fd, &byte, 1, 0), -1); /* ENETDOWN, told once */
	put(x, BROADCAST, 200, 9);
	send_all(x);
	check_kernel_got(x, x->data[0], 200);
	assert_int_equal(COUNT(x->tap, out_frames), 2);
}

static void put16(uint8_t *at, uint32_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

static uint32_t sum16(const uint8_t *data, uint32_t bytes, uint32_t sum)
{
	for (uint32_t i = 0; i < bytes; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* IPv4 from the guest to the host, @protocol with @l4_bytes; returns the transport header. */
static uint8_t *ipv4(uint8_t *data, uint64_t to, uint64_t from, uint8_t protocol, uint32_t l4_bytes,
		     uint32_t *ret_pseudo)
{
	uint8_t *ip = data + 14;

	fake_ethernet(data, to, from, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, 20 + l4_bytes);
	ip[8] = 64;
	ip[9] = protocol;
	inet_pton(AF_INET, GUEST_IP, ip + 12);
	inet_pton(AF_INET, HOST_IP, ip + 16);
	put16(ip + 10, ~sum16(ip, 20, 0));
	*ret_pseudo = sum16((uint8_t[]){0, protocol, (uint8_t)(l4_bytes >> 8), (uint8_t)l4_bytes},
			    4, sum16(ip + 12, 8, 0));
	return ip + 20;
}

/* A datagram whose checksum is left open: the kernel's UDP takes it. */
static void open_checksum_is_taken(void **state)
{
	struct fixture *x = need(state);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7777)};
	uint32_t payload = 1400, pseudo;
	uint8_t got[2000], *data = x->data[0], *udp;
	struct frame *f;
	int fd;

	address_set(DEV, HOST_IP);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	udp = ipv4(data, mac_of(DEV), GUEST_MAC, 17, 8 + payload, &pseudo);
	put16(udp, 7777);
	put16(udp + 2, 7777);
	put16(udp + 4, 8 + payload);
	put16(udp + 6, pseudo);
	for (uint32_t i = 0; i < payload; i++)
		udp[8 + i] = (uint8_t)(i * 13);
	f = fake_frame(x->w, data, 42 + payload, FRAME_SNAPSHOT_BYTES, 0);
	f->offload = (struct lr_offload){
		.flags = LR_OFFLOAD_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
	/* The same with a checksum that is wrong: the kernel really looks. */
	memcpy(x->data[1], data, 42 + payload);
	fake_frame(x->w, x->data[1], 42 + payload, FRAME_SNAPSHOT_BYTES, 0);
	send_all(x);
	assert_int_equal(recv(fd, got, sizeof(got), 0), payload);
	assert_memory_equal(got, udp + 8, payload);
	assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
	close(fd);
}

#define TCP_PAYLOAD 60000
#define MSS	    1448

/* 60,000 bytes of TCP in one frame. Return: its bytes */
static uint32_t tcp_large(uint8_t *data, uint64_t to, uint64_t from)
{
	uint32_t pseudo;
	uint8_t *tcp = ipv4(data, to, from, 6, 20 + TCP_PAYLOAD, &pseudo);

	memset(tcp, 0, 20);
	put16(tcp, 1000);
	put16(tcp + 2, 2000);
	tcp[12] = 5 << 4;
	tcp[13] = 0x10;
	put16(tcp + 16, pseudo);
	for (uint32_t i = 0; i < TCP_PAYLOAD; i++)
		tcp[20 + i] = (uint8_t)(i * 11);
	return 54 + TCP_PAYLOAD;
}

/* One write, one frame at the kernel's side that is still to be cut. */
static void large_segments_go_through(void **state)
{
	static uint8_t got[FRAME_BYTES_MAX];
	struct fixture *x = need(state);
	struct virtio_net_hdr h;
	uint32_t bytes = tcp_large(x->data[0], mac_of(DEV), GUEST_MAC);
	struct frame *f = fake_frame(x->w, x->data[0], bytes, FRAME_SNAPSHOT_BYTES, 4096);

	close(x->packet_fd);
	x->packet_fd = packet_socket(DEV, 0x0800);
	f->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
					 .gso_type = LR_GSO_TCPV4,
					 .gso_size = MSS,
					 .hdr_len = 54,
					 .csum_start = 34,
					 .csum_offset = 16};
	send_all(x);
	assert_int_equal(kernel_got(x, got, &h), bytes);
	assert_memory_equal(got, x->data[0], bytes);
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(h.gso_size, MSS);
	assert_true(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static void frames_from_the_kernel(void **state)
{
	struct virtio_net_hdr plain = {0};
	struct fixture *x = need(state);
	uint64_t mac = mac_of(DEV);

	for (unsigned i = 0; i < 70; i++) {
		uint8_t *data = x->data[i % FRAME_BURST];

		memset(data, (int)i, 1514);
		fake_ethernet(data, GUEST_MAC, mac, TYPE);
		kernel_sends(x, &plain, data, 60 + i * 20);
	}
	turns(x, 20);
	assert_int_equal(x->guest->got_count, 70);
	for (unsigned i = 0; i < 70; i++) {
		assert_int_equal(x->guest->got[i].bytes, 60 + i * 20);
		assert_int_equal(x->guest->got[i].data[59], i);
		assert_int_equal(x->guest->got[i].offload.flags & LR_OFFLOAD_NEEDS_CSUM, 0);
	}
	assert_int_equal(COUNT(x->tap, in_frames), 70);
	assert_int_equal(bridge_fdb_count(x->br, x->tap), 1);
}

/* A frame of 60,000 bytes from the kernel: whole to who takes it, in segments to who does not. */
static void large_segments_come_in(void **state)
{
	struct fixture *x = need(state);
	struct virtio_net_hdr h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				   .hdr_len = 54,
				   .gso_size = MSS,
				   .csum_start = 34,
				   .csum_offset = 16};
	uint32_t bytes = tcp_large(x->data[0], GUEST_MAC, mac_of(DEV));

	close(x->packet_fd);
	x->packet_fd = packet_socket(DEV, 0x0800);
	atomic_store(&x->guest->port.offloads, PORT_CSUM | PORT_TSO4);
	kernel_sends(x, &h, x->data[0], bytes);
	turns(x, 10);
	assert_int_equal(x->guest->got_count, 1);
	assert_int_equal(x->guest->got[0].bytes, bytes);
	assert_memory_equal(x->guest->got[0].data, x->data[0], bytes);
	assert_int_equal(x->guest->got[0].offload.gso_size, MSS);
	fake_port_forget(x->guest);
	atomic_store(&x->guest->port.offloads, 0);
	kernel_sends(x, &h, x->data[0], bytes);
	turns(x, 10);
	assert_int_equal(x->guest->got_count, (TCP_PAYLOAD + MSS - 1) / MSS);
	for (unsigned i = 0; i < x->guest->got_count; i++)
		assert_memory_equal(x->guest->got[i].data + 54, x->data[0] + 54 + i * MSS,
				    x->guest->got[i].bytes - 54);
}

/* Each worker has a queue of its own, writes to that one, and reads what comes there. */
static void queues_and_workers(void **state)
{
	struct fixture *x = need(state);
	struct tap *tap = x->tap->impl;
	struct virtio_net_hdr plain = {0};

	assert_int_not_equal(tap->queues[0].source.worker->index,
			     tap->queues[1].source.worker->index);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(tap->queues[tap->outs[i].queue_index].source.worker->index, i);
	for (unsigned i = 0; i < 2; i++) {
		x->w = engine_worker(x->engine, i);
		put(x, BROADCAST, 100, i);
		put(x, BROADCAST, 100, i);
		send_all(x);
		check_kernel_got(x, x->data[0], 100);
		check_kernel_got(x, x->data[1], 100);
	}
	assert_int_equal(count_of(x->tap, offsetof(struct port_counters, out_frames), 2), 4);
	for (unsigned i = 0; i < 64; i++) {
		memset(x->data[0], 0, 100);
		fake_ethernet(x->data[0], GUEST_MAC, mac_of(DEV) + i, TYPE);
		kernel_sends(x, &plain, x->data[0], 100);
	}
	turns(x, 20);
	assert_int_equal(x->guest->got_count, 64);
	assert_int_equal(count_of(x->tap, offsetof(struct port_counters, in_frames), 2), 64);
}

/* Run the main thread's loop for up to 5 s, until the port has @state. */
static void wait_state(struct fixture *x, enum port_state state)
{
	for (unsigned i = 0; i < 500 && atomic_load(&x->tap->state) != state; i++)
		assert_true(sd_event_run(x->env.loop, 10000) >= 0);
	assert_int_equal(atomic_load(&x->tap->state), state);
}

static void make_persistent_tap(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), DEV);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1ul), 0);
	close(fd);
}

/* Deleted under us: told, not spun on, and taken up again when it is back. */
static void device_goes_and_comes_back(void **state)
{
	struct fixture *x = need(state);
	unsigned busy = 0;

	put(x, BROADCAST, 100, 1);
	send_all(x);
	check_kernel_got(x, x->data[0], 100);
	close(x->packet_fd);
	assert_int_equal(link_delete(DEV), 0);
	/* Before the main thread knows. */
	put(x, BROADCAST, 100, 1);
	put(x, BROADCAST, 100, 2);
	send_all(x);
	assert_int_equal(DROPS(x->tap, LR_DROP_PORT_GONE), 2);
	turns(x, 3);
	wait_state(x, PORT_WAITING);
	assert_non_null(strstr(x->tap->why, DEV " was deleted"));
	/* Flooding leaves it out now. */
	put(x, BROADCAST, 100, 3);
	send_all(x);
	assert_int_equal(DROPS(&x->guest->port, LR_DROP_NO_PORT), 1);
	/* Nothing is pending in the loop but the look once a second. */
	for (unsigned i = 0; i < 100; i++)
		busy += sd_event_run(x->env.loop, 1000) > 0;
	assert_in_range(busy, 0, 3);
	make_persistent_tap();
	wait_state(x, PORT_RUNNING);
	assert_string_equal(x->tap->why, "");
	x->packet_fd = packet_socket(DEV, TYPE);
	put(x, BROADCAST, 100, 4);
	put(x, BROADCAST, 100, 5);
	send_all(x);
	check_kernel_got(x, x->data[0], 100);
	check_kernel_got(x, x->data[1], 100);
	assert_int_equal(link_delete(DEV), 0);
}

static void add_and_delete_again(void **state)
{
	struct fixture *x = need(state);
	struct errmsg err;

	for (unsigned i = 0; i < 5; i++) {
		close(x->packet_fd);
		port_free(x->tap);
		x->tap = NULL;
		assert_int_equal(tap_open(x, "2", &err), 0);
		x->packet_fd = packet_socket(DEV, TYPE);
		put(x, BROADCAST, 100, i);
		put(x, BROADCAST, 100, i);
		send_all(x);
		check_kernel_got(x, x->data[0], 100);
		check_kernel_got(x, x->data[1], 100);
	}
}

static void bad_names_are_refused(void **state)
{
	struct port_config config = {.value = {"an-interface-name-too-long", NULL, "1"}};
	struct fixture *x = need(state);
	struct errmsg err = {""};
	struct port *p = NULL;

	assert_int_equal(port_new(&x->env, "bad", &port_tap_ops, &config, &p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "1 to 15 letters"));
	assert_null(p);
	config.value[0] = "lo";
	assert_int_not_equal(port_new(&x->env, "bad", &port_tap_ops, &config, &p, &err), 0);
	assert_non_null(strstr(err.text, "lo"));
	assert_null(bridge_port_find(x->br, "bad"));
}

/* A ring may write to its files and nothing else. */
static void ring_is_restricted(void **state)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	int32_t results[2];
	struct uring u;
	int fds[2], err;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	err = uring_open(&u, &fds[1], 1);
	if (err)
		skip();
	assert_int_equal(uring_enable(&u), 0);
	uring_write(&u, 0, &iov, 1);
	uring_write(&u, 5, &iov, 1); /* no such file */
	assert_int_equal(uring_run(&u, results), 0);
	assert_int_equal(results[0], 1);
	assert_int_equal(results[1], -EBADF);
	sqe = io_uring_get_sqe(&u.ring);
	io_uring_prep_nop(sqe);
	assert_int_equal(io_uring_submit_and_wait(&u.ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(&u.ring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(&u.ring, cqe);
	sqe = io_uring_get_sqe(&u.ring);
	io_uring_prep_writev(sqe, fds[1], &iov, 1, 0); /* the same file, by its number */
	assert_int_equal(io_uring_submit_and_wait(&u.ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(&u.ring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(&u.ring, cqe);
	uring_release(&u);
	uring_close(&u);
	uring_close(&u); /* twice is fine */
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_is_restricted),
		cmocka_unit_test_setup_teardown(frames_to_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(without_uring_one_by_one, setup_without_uring,
						teardown),
		cmocka_unit_test_setup_teardown(ring_that_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_refuses_is_counted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(open_checksum_is_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(large_segments_go_through, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_from_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(large_segments_come_in, setup, teardown),
		cmocka_unit_test_setup_teardown(queues_and_workers, setup_two_workers, teardown),
		cmocka_unit_test_setup_teardown(device_goes_and_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(add_and_delete_again, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_names_are_refused, setup, teardown),
	};

	have_namespace = namespace_enter();
	return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
