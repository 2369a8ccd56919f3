/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dpdk_pktgen - two guests' network cards in one process, driven by DPDK's virtio-user.
 *
 * Theory of operation
 *
 * The two ports (--vdev net_virtio_user0 and 1) are connected to two ports of the switch. Commands
 * come on stdin, one a line, each answered by one line on stdout that begins with the command's
 * name and `ok` or `bad`:
 *
 *   link SECONDS                wait until both ports have a link (a back-end that comes back is
 *                               accepted only when the link state is asked for)
 *   announce SECONDS            broadcast from each port until the other has seen it
 *   run COUNT WINDOW SIZE...    COUNT frames each way, at most WINDOW in flight each way; each SIZE
 *                               is a number or FROM-TO-STEP, used in turn
 *   feed MS                     send without a window for MS milliseconds and count nothing but bad
 *                               frames: traffic for a back-end that is about to be killed
 *   quit
 *
 * Every frame carries its direction, number and length, and bytes that depend on all three. In a
 * run each frame must arrive once, in order, whole, at the other port only. Frames go out as one
 * segment, in halves, or cut at odd places (also inside the Ethernet header), in turn.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define ETHERTYPE	0x88b5 /* local experimental */
#define MAGIC		0x6c720001u
#define PORTS		2
#define BURST		32
#define FRAME_MAX_BYTES 9000
#define FRAME_MIN_BYTES 64
#define MTU_BYTES	9100
#define ANNOUNCE_SEQ	UINT32_MAX
#define STALL_NS	3000000000u
#define QUIET_NS	20000000u

struct frame_header {
	struct rte_ether_hdr eth;
	uint32_t magic;
	uint32_t run;
	uint32_t seq;
	uint16_t len_bytes;
	uint16_t from;
} __attribute__((packed, aligned(2)));

/* One direction: what port `from` sends to the other port. */
struct direction {
	uint32_t sent_count;
	uint32_t got_count;
};

static struct rte_mempool *tx_pool;
static struct rte_ether_addr mac[PORTS];
static struct direction dir[PORTS];
static uint16_t sizes[FRAME_MAX_BYTES] = {FRAME_MIN_BYTES};
static uint32_t size_count = 1;
static uint32_t run_id;
static bool any_order;
static bool announced[PORTS];
static char wrong[256];
static uint8_t scratch[FRAME_MAX_BYTES + 64];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t mix64(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdu;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53u;
	return x ^ (x >> 33);
}

/* Builds the frame's bytes; the buffer has room for eight more than len_bytes. */
static void build(uint8_t *to, uint16_t from, uint32_t run, uint32_t seq, uint16_t len_bytes)
{
	struct frame_header h = {
		.magic = MAGIC, .run = run, .seq = seq, .len_bytes = len_bytes, .from = from};
	uint64_t word =
		mix64((uint64_t)run << 48 ^ (uint64_t)seq << 16 ^ len_bytes ^ (uint64_t)from << 15);

	h.eth.src_addr = mac[from];
	h.eth.dst_addr = mac[!from];
	if (seq == ANNOUNCE_SEQ)
		memset(&h.eth.dst_addr, 0xff, sizeof(h.eth.dst_addr));
	h.eth.ether_type = rte_cpu_to_be_16(ETHERTYPE);
	for (uint32_t i = sizeof(h); i < len_bytes; i += 8) {
		memcpy(to + i, &word, 8);
		word = word * 6364136223846793005u + 1442695040888963407u;
	}
	memcpy(to, &h, sizeof(h));
}

/* Copies len_bytes into a chain of mbufs: at most cut_bytes in the first, seg_bytes in others. */
static struct rte_mbuf *chain(const uint8_t *from, uint32_t len_bytes, uint32_t cut_bytes,
			      uint32_t seg_bytes)
{
	struct rte_mbuf *head = NULL;
	struct rte_mbuf *last = NULL;
	uint32_t done = 0;

	while (done < len_bytes) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(tx_pool);
		uint32_t take = head ? seg_bytes : cut_bytes;

		if (!m) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		if (take > rte_pktmbuf_tailroom(m))
			take = rte_pktmbuf_tailroom(m);
		if (take > len_bytes - done)
			take = len_bytes - done;
		memcpy(rte_pktmbuf_mtod(m, uint8_t *), from + done, take);
		m->data_len = (uint16_t)take;
		done += take;
		if (!head) {
			head = m;
			head->pkt_len = len_bytes;
		} else {
			last->next = m;
			head->nb_segs++;
		}
		last = m;
	}
	return head;
}

static struct rte_mbuf *frame(uint16_t from, uint32_t seq, uint16_t len_bytes)
{
	static const uint32_t odd[] = {1, 13, 14, 20, 60, 63};

	build(scratch, from, run_id, seq, len_bytes);
	switch (seq % 5) {
	case 1:
		return chain(scratch, len_bytes, len_bytes / 2, len_bytes);
	case 2:
		return chain(scratch, len_bytes, odd[seq / 5 % RTE_DIM(odd)], 2048);
	default:
		return chain(scratch, len_bytes, len_bytes, len_bytes);
	}
}

static uint16_t size_of(uint32_t seq)
{
	return sizes[seq % size_count];
}

/* Sends up to BURST frames of one direction. Returns how many the ring took. */
static uint32_t send_some(uint16_t from, uint32_t limit_count)
{
	struct rte_mbuf *burst[BURST];
	struct direction *d = &dir[from];
	uint16_t want = 0;
	uint16_t took;

	while (want < BURST && want < limit_count) {
		uint32_t seq = d->sent_count + want;

		burst[want] = frame(from, seq, size_of(seq));
		if (!burst[want])
			break;
		want++;
	}
	took = rte_eth_tx_burst(from, 0, burst, want);
	rte_pktmbuf_free_bulk(burst + took, (unsigned int)(want - took));
	d->sent_count += took;
	return took;
}

/* Checks one frame that arrived at port `at`; says in `wrong` what is bad about it. */
static void check_frame(uint16_t at, struct rte_mbuf *m)
{
	static uint8_t flat[FRAME_MAX_BYTES + 64];
	struct direction *d = &dir[!at];
	struct frame_header h;
	const uint8_t *got;

	if (m->pkt_len < sizeof(h) || m->pkt_len > FRAME_MAX_BYTES) {
		snprintf(wrong, sizeof(wrong), "port %u: frame of %u bytes", at, m->pkt_len);
		return;
	}
	got = rte_pktmbuf_read(m, 0, m->pkt_len, flat);
	memcpy(&h, got, sizeof(h));
	if (h.magic != MAGIC || h.from != !at || h.len_bytes != m->pkt_len) {
		snprintf(wrong, sizeof(wrong), "port %u: magic %x from %u length %u, %u bytes came",
			 at, h.magic, h.from, h.len_bytes, m->pkt_len);
		return;
	}
	build(scratch, !at, h.run, h.seq, h.len_bytes);
	if (memcmp(scratch, got, h.len_bytes) != 0) {
		snprintf(wrong, sizeof(wrong), "port %u: payload of frame %u, %u bytes", at, h.seq,
			 h.len_bytes);
		return;
	}
	if (h.seq == ANNOUNCE_SEQ) {
		announced[!at] = true;
		return;
	}
	/* Frames of a run that a kill cut short may come late, but whole. */
	if (any_order || h.run != run_id)
		return;
	if (h.seq != d->got_count)
		snprintf(wrong, sizeof(wrong), "port %u: frame %u where %u was expected", at, h.seq,
			 d->got_count);
	else
		d->got_count++;
}

static uint32_t receive(uint16_t at)
{
	struct rte_mbuf *burst[BURST];
	uint16_t count = rte_eth_rx_burst(at, 0, burst, BURST);

	for (uint16_t i = 0; i < count; i++) {
		if (!wrong[0])
			check_frame(at, burst[i]);
		rte_pktmbuf_free(burst[i]);
	}
	return count;
}

/* Nothing may come after the last frame. */
static void expect_quiet(void)
{
	uint64_t end = now_ns() + QUIET_NS;

	while (now_ns() < end && !wrong[0])
		if (receive(0) + receive(1))
			snprintf(wrong, sizeof(wrong), "a frame too many");
}

/* Takes a number off the front of *text, and the character behind it. Ends the program if bad. */
static uint32_t take_number(char **text)
{
	char *end;
	unsigned long value = strtoul(*text, &end, 10);

	if (end == *text || (*end && *end != ' ' && *end != '-') || value > UINT32_MAX)
		rte_exit(2, "not a number: '%s'\n", *text);
	*text = *end ? end + 1 : end;
	return (uint32_t)value;
}

/* Appends the sizes that one word means: SIZE or FROM-TO-STEP. */
static void add_sizes(char *word)
{
	uint32_t from = take_number(&word);
	uint32_t to = *word ? take_number(&word) : from;
	uint32_t step = *word ? take_number(&word) : 1;

	if (from < FRAME_MIN_BYTES || to > FRAME_MAX_BYTES || !step)
		rte_exit(2, "sizes are %u to %u\n", FRAME_MIN_BYTES, FRAME_MAX_BYTES);
	for (uint32_t bytes = from; bytes <= to; bytes += step) {
		if (size_count == RTE_DIM(sizes))
			rte_exit(2, "at most %zu sizes\n", RTE_DIM(sizes));
		sizes[size_count++] = (uint16_t)bytes;
	}
}

static void parse_sizes(char *words)
{
	char *rest = NULL;

	size_count = 0;
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		add_sizes(word);
	if (!size_count)
		rte_exit(2, "run needs a size\n");
}

static void begin_run(void)
{
	run_id++;
	wrong[0] = 0;
	memset(dir, 0, sizeof(dir));
}

static void run(uint32_t count, uint32_t window)
{
	uint64_t start = now_ns();
	uint64_t progress_at = start;

	begin_run();
	while ((dir[0].got_count < count || dir[1].got_count < count) && !wrong[0]) {
		uint32_t progress = 0;

		for (uint16_t p = 0; p < PORTS; p++) {
			uint32_t in_flight = dir[p].sent_count - dir[p].got_count;
			uint32_t left = count - dir[p].sent_count;

			if (in_flight < window)
				progress += send_some(p, RTE_MIN(window - in_flight, left));
			progress += receive(p);
		}
		if (progress)
			progress_at = now_ns();
		else if (now_ns() - progress_at > STALL_NS)
			snprintf(wrong, sizeof(wrong), "stalled");
	}
	if (!wrong[0])
		expect_quiet();
	printf("run %s sent=%u+%u received=%u+%u us=%llu%s%s\n", wrong[0] ? "bad" : "ok",
	       dir[0].sent_count, dir[1].sent_count, dir[0].got_count, dir[1].got_count,
	       (unsigned long long)(now_ns() - start) / 1000, wrong[0] ? " why=" : "", wrong);
}

static void feed(uint32_t ms)
{
	uint64_t end = now_ns() + (uint64_t)ms * 1000000u;

	begin_run();
	any_order = true;
	while (now_ns() < end && !wrong[0]) {
		for (uint16_t p = 0; p < PORTS; p++) {
			send_some(p, BURST);
			receive(p);
		}
	}
	any_order = false;
	printf("feed %s sent=%u+%u%s%s\n", wrong[0] ? "bad" : "ok", dir[0].sent_count,
	       dir[1].sent_count, wrong[0] ? " why=" : "", wrong);
}

static void announce(uint32_t seconds)
{
	uint64_t end = now_ns() + (uint64_t)seconds * 1000000000u;
	uint64_t next = 0;

	begin_run();
	announced[0] = false;
	announced[1] = false;
	while (now_ns() < end && !(announced[0] && announced[1]) && !wrong[0]) {
		receive(0);
		receive(1);
		if (now_ns() < next)
			continue;
		next = now_ns() + 20000000u;
		for (uint16_t p = 0; p < PORTS; p++) {
			struct rte_mbuf *m = frame(p, ANNOUNCE_SEQ, FRAME_MIN_BYTES);

			if (m && !rte_eth_tx_burst(p, 0, &m, 1))
				rte_pktmbuf_free(m);
		}
	}
	/* Late copies of announcements must not disturb the run that follows. */
	for (end = now_ns() + QUIET_NS; now_ns() < end;) {
		receive(0);
		receive(1);
	}
	printf("announce %s seen=%d+%d%s%s\n",
	       announced[0] && announced[1] && !wrong[0] ? "ok" : "bad", announced[0], announced[1],
	       wrong[0] ? " why=" : "", wrong);
}

static void link_wait(uint32_t seconds)
{
	uint64_t start = now_ns();
	bool up = false;

	while (!up && now_ns() - start < (uint64_t)seconds * 1000000000u) {
		up = true;
		for (uint16_t p = 0; p < PORTS; p++) {
			struct rte_eth_link link = {0};

			if (rte_eth_link_get_nowait(p, &link) || !link.link_status)
				up = false;
		}
		if (!up)
			usleep(10000);
	}
	printf("link %s ms=%llu\n", up ? "ok" : "bad",
	       (unsigned long long)(now_ns() - start) / 1000000);
}

static void port_open(uint16_t port, uint16_t rx_room_bytes)
{
	struct rte_eth_conf conf = {.rxmode = {.mtu = MTU_BYTES}};
	struct rte_eth_dev_info info;
	struct rte_mempool *pool;
	char name[32];

	if (rte_eth_dev_info_get(port, &info))
		rte_exit(1, "port %u: no information\n", port);
	conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	snprintf(name, sizeof(name), "rx%u", port);
	pool = rte_pktmbuf_pool_create(
		name, 2047, 0, 0, (uint16_t)(RTE_PKTMBUF_HEADROOM + rx_room_bytes), SOCKET_ID_ANY);
	if (!pool)
		rte_exit(1, "port %u: no memory for receive buffers\n", port);
	if (rte_eth_dev_configure(port, 1, 1, &conf) ||
	    rte_eth_rx_queue_setup(port, 0, 0, SOCKET_ID_ANY, NULL, pool) ||
	    rte_eth_tx_queue_setup(port, 0, 0, SOCKET_ID_ANY, NULL) || rte_eth_dev_start(port))
		rte_exit(1, "port %u: cannot be started\n", port);
	rte_eth_macaddr_get(port, &mac[port]);
}

static bool command(char *line)
{
	char *rest;
	uint32_t count;

	line[strcspn(line, "\n")] = 0;
	rest = strchr(line, ' ');
	if (!rest)
		return false; /* "quit" is the only command of one word */
	*rest++ = 0;
	count = take_number(&rest);
	if (strcmp(line, "link") == 0) {
		link_wait(count);
	} else if (strcmp(line, "announce") == 0) {
		announce(count);
	} else if (strcmp(line, "feed") == 0) {
		feed(count);
	} else if (strcmp(line, "run") == 0) {
		uint32_t window = take_number(&rest);

		parse_sizes(rest);
		run(count, window);
	} else {
		rte_exit(2, "no command '%s'\n", line);
	}
	return true;
}

int main(int argc, char **argv)
{
	static char line[4096];
	int used = rte_eal_init(argc, argv);
	uint16_t rx_room_bytes = 2048;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (used < 0 || rte_eth_dev_count_avail() != PORTS)
		rte_exit(1, "two ports are needed: --vdev net_virtio_user0,... and 1\n");
	if (argc - used > 1)
		rx_room_bytes = (uint16_t)strtoul(argv[used + 1], NULL, 10);
	tx_pool = rte_pktmbuf_pool_create(
		"tx", 4095, 64, 0, RTE_PKTMBUF_HEADROOM + FRAME_MAX_BYTES + 24, SOCKET_ID_ANY);
	if (!tx_pool)
		rte_exit(1, "no memory for transmit buffers\n");
	port_open(0, rx_room_bytes);
	port_open(1, rx_room_bytes);
	puts("ready ok");
	while (fgets(line, sizeof(line), stdin) && command(line))
		;
	rte_eth_dev_stop(0);
	rte_eth_dev_stop(1);
	rte_eth_dev_close(0);
	rte_eth_dev_close(1);
	puts("quit ok");
	return 0;
}
