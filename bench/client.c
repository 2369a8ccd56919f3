/* SPDX-License-Identifier: BSD-2-Clause */
/* The measuring client whose driver is DPDK's virtio-user, unmodified: two guests on one core. */

/*
 * Theory of operation
 *
 * One lcore owns two virtio-user ports, each connected to one vhost-user socket (queue size 1024,
 * every feature at the driver's default: in_order and mrg_rxbuf on). Receive buffers are DPDK's
 * default of 2 KiB, so a frame of 9000 bytes takes five, as it would in most DPDK guests. What is
 * measured, and how, is in load.h.
 *
 * usage: bench-client [--huge] [--cpu N] SOCKET0 SOCKET1
 * --huge: the guests' memory is 2 MiB hugetlb pages instead of 4 KiB pages
 */

#include "load.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define QUEUE_SIZE  1024
#define SMALL_ROOM  (2048 + RTE_PKTMBUF_HEADROOM)
#define LARGE_ROOM  (9216 + RTE_PKTMBUF_HEADROOM)
#define SMALL_COUNT 4095
#define LARGE_COUNT 2559
#define POOL_CACHE  256

static struct rte_mempool *rx_pool, *small_pool, *large_pool;

/* Frames built that the ring has not taken yet, per port. */
static struct {
	struct rte_mbuf *mbufs[LOAD_BURST];
	unsigned int count;
} pending[2];

/* Build frames until @want are pending; fewer when the pool is empty. */
static inline void fill(unsigned int port, const struct load_flow *flow, unsigned int want)
{
	unsigned int have = pending[port].count, need = want - have;
	struct rte_mbuf **m = &pending[port].mbufs[have];
	struct rte_mempool *pool = flow->frame_bytes > 2048 ? large_pool : small_pool;

	if (rte_pktmbuf_alloc_bulk(pool, m, need) != 0)
		return;
	for (unsigned int i = 0; i < need; i++) {
		m[i]->data_len = (uint16_t)flow->frame_bytes;
		m[i]->pkt_len = flow->frame_bytes;
		load_build(flow, flow->next_seq + have + i, rte_pktmbuf_mtod(m[i], uint8_t *));
	}
	pending[port].count = want;
}

static inline unsigned int drv_send(unsigned int port, struct load_flow *flow, unsigned int want)
{
	unsigned int n;

	if (pending[port].count < want)
		fill(port, flow, want);
	n = rte_eth_tx_burst((uint16_t)port, 0, pending[port].mbufs, (uint16_t)pending[port].count);
	pending[port].count -= n;
	for (unsigned int i = 0; i < pending[port].count; i++)
		pending[port].mbufs[i] = pending[port].mbufs[n + i];
	flow->next_seq += n;
	return n;
}

static void drv_flush(unsigned int port)
{
	rte_pktmbuf_free_bulk(pending[port].mbufs, pending[port].count);
	pending[port].count = 0;
}

static bool payload_same(const struct rte_mbuf *m, uint64_t seq)
{
	size_t at = 0;

	for (const struct rte_mbuf *s = m; s; s = s->next) {
		size_t skip = s == m ? sizeof(struct load_line) : 0;
		size_t bytes = rte_pktmbuf_data_len(s);

		if (bytes < skip)
			return false; /* a first buffer shorter than the first line */
		if (!load_payload_same(rte_pktmbuf_mtod(s, uint8_t *) + skip, seq, at,
				       bytes - skip))
			return false;
		at += bytes - skip;
	}
	return true;
}

static inline unsigned int drv_recv(unsigned int port, struct load_sink *sink)
{
	struct rte_mbuf *m[LOAD_BURST];
	unsigned int n = rte_eth_rx_burst((uint16_t)port, 0, m, LOAD_BURST);

	for (unsigned int i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *p = rte_pktmbuf_mtod(m[i], uint8_t *);

		if (load_line_seen(sink, p, rte_pktmbuf_pkt_len(m[i])) && sink->verify)
			sink->bad += !payload_same(m[i], ((const struct load_line *)p)->seq);
	}
	if (n > 0)
		rte_pktmbuf_free_bulk(m, n);
	return n;
}

static void port_start(uint16_t port)
{
	struct rte_eth_conf conf = {
		.rxmode = {.mtu = LOAD_BYTES_MAX - 14, .offloads = RTE_ETH_RX_OFFLOAD_SCATTER},
	};
	int rc;

	rc = rte_eth_dev_configure(port, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(port, 0, QUEUE_SIZE, 0, NULL, rx_pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(port, 0, QUEUE_SIZE, 0, NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(port);
	if (rc != 0)
		load_die("bench-client: port %u: %s", port, rte_strerror(-rc));
}

static struct rte_mempool *pool(const char *name, unsigned int count, unsigned int room)
{
	struct rte_mempool *p =
		rte_pktmbuf_pool_create(name, count, POOL_CACHE, 0, (uint16_t)room, 0);

	if (!p)
		load_die("bench-client: pool %s: %s", name, rte_strerror(rte_errno));
	return p;
}

static void eal(const char *name, bool huge, const char *cpu, char *const socket[2])
{
	char prefix[64], vdev[2][300], lcore[32];
	char *argv[24];
	int argc = 0;

	snprintf(prefix, sizeof(prefix), "--file-prefix=bench-client-%d", (int)getpid());
	snprintf(lcore, sizeof(lcore), "0@%s", cpu);
	for (int i = 0; i < 2; i++)
		snprintf(vdev[i], sizeof(vdev[i]),
			 "--vdev=net_virtio_user%d,path=%s,queues=1,queue_size=%d,"
			 "mac=02:00:00:00:%s:00",
			 i, socket[i], QUEUE_SIZE, i == 0 ? "aa" : "bb");
	argv[argc++] = strdup(name);
	argv[argc++] = strdup("--lcores");
	argv[argc++] = lcore;
	argv[argc++] = strdup("-m");
	argv[argc++] = strdup("160");
	argv[argc++] = strdup("--no-pci");
	argv[argc++] = strdup("--no-telemetry");
	argv[argc++] = strdup("--log-level=4");
	argv[argc++] = prefix;
	if (huge) {
		argv[argc++] = strdup("--in-memory");
		argv[argc++] = strdup("--single-file-segments");
	} else {
		argv[argc++] = strdup("--no-huge");
	}
	argv[argc++] = vdev[0];
	argv[argc++] = vdev[1];
	if (rte_eal_init(argc, argv) < 0)
		load_die("bench-client: EAL: %s", rte_strerror(rte_errno));
}

int main(int argc, char **argv)
{
	const char *cpu = "0";
	bool huge = false;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--huge") == 0)
			huge = true;
		else if (strcmp(argv[i], "--cpu") == 0 && i + 1 < argc)
			cpu = argv[++i];
		else
			load_die("bench-client: unknown option %s", argv[i]);
	}
	if (argc - i != 2)
		load_die("usage: bench-client [--huge] [--cpu N] SOCKET0 SOCKET1");

	/* Whatever the libraries print goes to stderr: stdout carries answers only. */
	load_out_fd = dup(1);
	if (load_out_fd < 0 || dup2(2, 1) < 0)
		load_die("bench-client: dup: %s", strerror(errno));

	eal(argv[0], huge, cpu, &argv[i]);
	if (rte_eth_dev_count_avail() != 2)
		load_die("bench-client: %u ports came up, not 2", rte_eth_dev_count_avail());
	load_tsc_hz = rte_get_tsc_hz();
	rx_pool = pool("rx", SMALL_COUNT, SMALL_ROOM);
	small_pool = pool("small", SMALL_COUNT, SMALL_ROOM);
	large_pool = pool("large", LARGE_COUNT, LARGE_ROOM);
	port_start(0);
	port_start(1);
	load_answer("{\"ready\": true, \"driver\": \"virtio-user\"}");
	load_serve();
	rte_eth_dev_stop(0);
	rte_eth_dev_stop(1);
	rte_eal_cleanup();
	return 0;
}
