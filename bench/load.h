/* SPDX-License-Identifier: BSD-2-Clause */
/* The load both measuring clients offer: numbered frames, timed windows, a line protocol. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

/*
 * Theory of operation
 *
 * A client drives two guests from one core: port 0 sends, port 1 receives. It is one program per
 * driver (client.c: DPDK's virtio-user, light.c: our own), each of which includes this file and
 * defines the two functions declared under "What a driver provides". Everything else is here, so
 * that both clients offer the same load and judge what comes back by the same rules.
 *
 * Commands arrive on stdin, one a line, `window key=value...`; each is answered by one line of
 * JSON on stdout. Between commands the client sleeps in read(), so it may be stopped (SIGSTOP)
 * and continued at any such moment. A window is: announce all MACs both ways until they arrived
 * (the switch has learnt them, its caches are warm), load for `warm` ms uncounted, load for `ms`
 * counted, stop sending, drain until all has come or nothing more does.
 *
 * Frames are IPv4/UDP, and carry in their first 64 bytes the pair, the window and a sequence
 * number; all of it is looked at on arrival: that is "the first line". With verify=1 every byte
 * after them is written by the sender and compared by the receiver. Without, payload lines
 * stay as they are, and are never read.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOAD_PAIRS_MAX	 64
#define LOAD_BYTES_MIN	 64
#define LOAD_BYTES_MAX	 9000
#define LOAD_BURST	 32
#define LOAD_SAMPLES_MAX (1U << 20)

enum load_kind { LOAD_DATA = 0xd1, LOAD_ANNOUNCE = 0xa7 };

/* The first line of every frame. Multi-byte fields of ours are in host order: we read them back. */
struct load_line {
	uint8_t dst[6];
	uint8_t src[6];
	uint8_t ethertype[2];
	uint8_t ip[20];
	uint8_t udp[8];
	uint8_t kind;
	uint8_t pair;
	uint32_t window;
	uint64_t seq;
	uint64_t reserved;
} __attribute__((packed));

_Static_assert(sizeof(struct load_line) == 64, "the first line is one cache line");

/* What is being sent, towards one port; templates are rebuilt by every window. */
struct load_flow {
	struct load_line line[LOAD_PAIRS_MAX];
	uint32_t pairs_count; /* power of two */
	uint32_t frame_bytes;
	uint64_t next_seq;
	bool verify; /* write the payload of every frame */
};

/* What has arrived at one port. */
struct load_sink {
	const struct load_flow *flow;
	uint64_t last_seq[LOAD_PAIRS_MAX];
	uint64_t frames;
	uint64_t bad;	    /* a byte differs from what was sent, or the wrong header */
	uint64_t cut;	    /* length differs from what was sent */
	uint64_t reordered; /* sequence number not above the last one of its pair */
	uint64_t foreign;   /* not of this window: ignored, but counted */
	uint64_t announced; /* bit per pair whose announcement has arrived */
	uint32_t window;
	bool verify; /* compare the payload of every frame */
	bool eager;  /* latency is measured: look for frames all the time */
};

/* A window's order, from the command line. */
struct load_order {
	uint32_t window;
	uint32_t frame_bytes;
	uint32_t pairs_count;
	uint32_t ms;
	uint32_t warm_ms;
	uint32_t closed;   /* 0: open loop; else most frames between send and receive */
	uint32_t count;	   /* 0: no limit; else the window ends when so many were sent */
	uint32_t peer_pid; /* whose processor time is read beside ours; 0: nobody's */
	bool verify;
	bool ping; /* one frame in flight, time each */
};

struct load_result {
	uint64_t sent, received; /* within the window */
	uint64_t total_sent, total_received;
	uint64_t loops, full_loops;
	uint64_t wall_ns, self_ns, peer_ns, gap_ns;
	uint64_t p50_ns, p99_ns;
	uint32_t samples;
};

/* What a driver provides. */

/**
 * drv_send() - build up to @want frames of @flow and give them to @port's transmit ring
 *
 * Frames are made by load_build(), with consecutive sequence numbers from flow->next_seq, which
 * is advanced by the number of frames the ring took.
 *
 * Return: that number
 */
static inline unsigned int drv_send(unsigned int port, struct load_flow *flow, unsigned int want);

/**
 * drv_recv() - take what has arrived at @port, hand each frame to load_line_seen() (and with
 * sink->verify its payload to load_payload_same()), give the buffers back
 *
 * Return: number of frames taken from the ring
 */
static inline unsigned int drv_recv(unsigned int port, struct load_sink *sink);

/** drv_flush() - forget frames built but never sent, let @port's driver finish pending work */
static void drv_flush(unsigned int port);

/* Set by the driver before load_serve(): where answers go, and what its clock ticks at. */
static int load_out_fd = 1;
static uint64_t load_tsc_hz;

static inline uint64_t load_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/** load_die() - say what is wrong on stderr and exit 1 */
static void __attribute__((noreturn, format(printf, 1, 2))) load_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/** load_clock_ns() - @id's time in ns */
static uint64_t load_clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* Processor time of another process, all its threads: the kernel's encoding of clockids. */
static clockid_t process_clock(uint32_t pid)
{
	return (clockid_t)(~pid << 3 | 2U);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static uint64_t payload_word(uint64_t seq)
{
	seq ^= seq >> 31;
	return seq * 0x9e3779b97f4a7c15U + 0x7f4a7c159e3779b9U;
}

/** load_payload_write() - the bytes of frame @seq from offset 64 on, @bytes of them, at @p */
static inline void load_payload_write(uint8_t *p, uint64_t seq, size_t bytes)
{
	uint64_t word = payload_word(seq);
	size_t i;

	for (i = 0; i + 8 <= bytes; i += 8) {
		uint64_t w = word + i;

		memcpy(p + i, &w, 8);
	}
	word += i;
	memcpy(p + i, &word, bytes - i);
}

/** load_payload_same() - compare @bytes at payload offset @offset of frame @seq; may be split */
static inline bool load_payload_same(const uint8_t *p, uint64_t seq, size_t offset, size_t bytes)
{
	uint64_t word = payload_word(seq), diff = 0;
	size_t i = 0;

	for (; i < bytes && (offset + i) % 8 != 0; i++) {
		uint64_t w = word + ((offset + i) & ~(size_t)7);

		diff |= p[i] ^ (uint8_t)(w >> (offset + i) % 8 * 8);
	}
	for (; i + 8 <= bytes; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, 8);
		diff |= w ^ (word + offset + i);
	}
	for (size_t base = offset + i; i < bytes; i++)
		diff |= p[i] ^ (uint8_t)((word + base) >> (offset + i - base) * 8);
	return diff == 0;
}

/**
 * load_build() - write frame @seq of @flow at @p
 *
 * The first line always; the payload only for a flow that is verified.
 */
static inline void load_build(const struct load_flow *flow, uint64_t seq, uint8_t *p)
{
	struct load_line *line = (struct load_line *)p;

	memcpy(line, &flow->line[seq & (flow->pairs_count - 1)], sizeof(*line));
	line->seq = seq;
	if (flow->verify)
		load_payload_write(p + sizeof(*line), seq, flow->frame_bytes - sizeof(*line));
}

/**
 * load_line_seen() - judge a frame by its first line and length, and count it
 *
 * Return: true when the frame belongs to this window
 */
static inline bool load_line_seen(struct load_sink *sink, const uint8_t *p, size_t bytes)
{
	const struct load_line *line = (const struct load_line *)p;
	uint32_t pair = line->pair % LOAD_PAIRS_MAX;

	if (bytes < sizeof(*line) || line->window != sink->window || line->kind != LOAD_DATA) {
		if (bytes >= sizeof(*line) && line->kind == LOAD_ANNOUNCE &&
		    line->window == sink->window)
			sink->announced |= UINT64_C(1) << pair;
		else
			sink->foreign++;
		return false;
	}
	sink->frames++;
	sink->cut += bytes != sink->flow->frame_bytes;
	sink->reordered += line->seq < sink->last_seq[pair];
	sink->last_seq[pair] = line->seq + 1;
	if (sink->verify)
		sink->bad += memcmp(line, &sink->flow->line[pair], 48) != 0;
	return true;
}

static void ip_header(uint8_t *ip, uint32_t bytes, uint32_t pair, bool back)
{
	uint8_t to = back ? 1 : 2, from = back ? 2 : 1;
	const uint8_t h[20] = {0x45,
			       0,
			       (uint8_t)(bytes >> 8),
			       (uint8_t)bytes,
			       0,
			       0,
			       0x40,
			       0,
			       64,
			       17,
			       0,
			       0,
			       10,
			       from,
			       0,
			       (uint8_t)pair,
			       10,
			       to,
			       0,
			       (uint8_t)pair};
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)h[i] << 8 | h[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16)) & 0xffff;
	memcpy(ip, h, 20);
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

/* The flow from port 0 to port 1, or with @back the other way; @kind for all its frames. */
static void flow_init(struct load_flow *flow, const struct load_order *o, enum load_kind kind,
		      bool back)
{
	uint32_t ip_bytes = o->frame_bytes - 14, udp_bytes = ip_bytes - 20;

	memset(flow, 0, sizeof(*flow));
	flow->pairs_count = o->pairs_count;
	flow->frame_bytes = o->frame_bytes;
	flow->verify = o->verify;
	for (uint32_t i = 0; i < o->pairs_count; i++) {
		struct load_line *l = &flow->line[i];
		const uint8_t mac[2][6] = {{0x02, 0, 0, 0, 0xaa, (uint8_t)i},
					   {0x02, 0, 0, 0, 0xbb, (uint8_t)i}};
		const uint8_t udp[8] = {0x20,
					(uint8_t)i,
					0x30,
					(uint8_t)i,
					(uint8_t)(udp_bytes >> 8),
					(uint8_t)udp_bytes,
					0,
					0};

		memcpy(l->src, mac[back], 6);
		memcpy(l->dst, mac[!back], 6);
		l->ethertype[0] = 0x08;
		ip_header(l->ip, ip_bytes, i, back);
		memcpy(l->udp, udp, 8);
		l->kind = (uint8_t)kind;
		l->pair = (uint8_t)i;
		l->window = o->window;
	}
}

static void sink_init(struct load_sink *sink, const struct load_flow *flow,
		      const struct load_order *o)
{
	memset(sink, 0, sizeof(*sink));
	sink->flow = flow;
	sink->window = o->window;
	sink->verify = o->verify;
	sink->eager = o->ping;
}

/* ---- windows --------------------------------------------------------------------------------- */

static struct load_flow flow_data, flow_there, flow_back;
static struct load_sink sink_far, sink_near;
static uint32_t samples_ns[LOAD_SAMPLES_MAX];

static uint64_t ns_of_tsc(uint64_t tsc)
{
	return (uint64_t)((double)tsc * 1e9 / (double)load_tsc_hz);
}

/* Both ways until every pair has been seen at both ends: the switch knows all MACs then. */
static bool announce(const struct load_order *o, uint32_t timeout_ms)
{
	uint64_t all = o->pairs_count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << o->pairs_count) - 1;
	uint64_t end = load_clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000U;

	flow_init(&flow_there, o, LOAD_ANNOUNCE, false);
	flow_init(&flow_back, o, LOAD_ANNOUNCE, true);
	sink_init(&sink_near, &flow_data, o);
	while (load_clock_ns(CLOCK_MONOTONIC) < end) {
		for (uint32_t i = 0; i < o->pairs_count; i += LOAD_BURST) {
			uint32_t n = o->pairs_count < LOAD_BURST ? o->pairs_count : LOAD_BURST;

			drv_send(1, &flow_back, n);
			drv_send(0, &flow_there, n);
		}
		for (uint64_t t = load_tsc(); load_tsc() - t < load_tsc_hz / 500;) {
			drv_recv(0, &sink_near);
			drv_recv(1, &sink_far);
			if (sink_near.announced == all && sink_far.announced == all)
				return true;
		}
	}
	return false;
}

/* Until everything came, or nothing more for 20 ms; never longer than @ms. */
static void drain(uint32_t ms)
{
	uint64_t last = load_tsc(), start = last;

	while (sink_far.frames < flow_data.next_seq && load_tsc() - last < load_tsc_hz / 50) {
		if (drv_recv(1, &sink_far) > 0)
			last = load_tsc();
		drv_recv(0, &sink_near);
		if (last - start > load_tsc_hz * ms / 1000)
			break;
	}
}

/* How many frames may be sent now; @lost: those that will not come any more. */
static inline unsigned int allowed(const struct load_order *o, uint64_t lost)
{
	uint64_t most = LOAD_BURST;

	if (o->closed != 0) {
		uint64_t out = flow_data.next_seq - sink_far.frames - lost;

		most = out >= o->closed ? 0 : o->closed - out;
	}
	if (o->count != 0 && o->count - flow_data.next_seq < most)
		most = o->count - flow_data.next_seq;
	return most < LOAD_BURST ? (unsigned int)most : LOAD_BURST;
}

/* Send and receive until @end, or until all of @o->count are sent. */
static void run_load(const struct load_order *o, uint64_t end, struct load_result *r)
{
	uint64_t now = load_tsc(), before, moved = now, last = sink_far.frames;
	uint64_t lost = flow_data.next_seq - sink_far.frames;

	do {
		before = now;
		if (sink_far.frames != last)
			moved = now;
		else if (now - moved > load_tsc_hz / 200) /* 5 ms: they will not come any more */
			lost = flow_data.next_seq - sink_far.frames;
		last = sink_far.frames;
		for (int i = 0; i < 4; i++) {
			unsigned int want = allowed(o, lost);
			unsigned int n = want > 0 ? drv_send(0, &flow_data, want) : 0;

			r->loops++;
			r->full_loops += n < want;
			drv_recv(1, &sink_far);
		}
		now = load_tsc();
		if (now - before > r->gap_ns)
			r->gap_ns = now - before;
	} while (now < end && (o->count == 0 || flow_data.next_seq < o->count));
}

/* One frame at a time until @end; a frame that has not come after 10 ms is lost. */
static void run_ping(uint64_t end, struct load_result *r)
{
	uint64_t now = load_tsc();

	while (now < end) {
		uint64_t start = now, seen = sink_far.frames;

		if (drv_send(0, &flow_data, 1) == 0)
			r->full_loops++;
		r->loops++;
		do {
			drv_recv(1, &sink_far);
			now = load_tsc();
		} while (sink_far.frames == seen && now - start < load_tsc_hz / 100);
		if (sink_far.frames != seen && r->samples < LOAD_SAMPLES_MAX)
			samples_ns[r->samples++] = (uint32_t)ns_of_tsc(now - start);
	}
}

static void run(const struct load_order *o, uint32_t ms, struct load_result *r)
{
	uint64_t end = load_tsc() + load_tsc_hz * ms / 1000;

	if (o->ping)
		run_ping(end, r);
	else
		run_load(o, end, r);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* One whole window: false when the MACs could not be announced. */
static bool window(const struct load_order *o, struct load_result *r)
{
	struct load_result warm = {0};

	memset(r, 0, sizeof(*r));
	flow_init(&flow_data, o, LOAD_DATA, false);
	sink_init(&sink_far, &flow_data, o);
	if (!announce(o, 2000))
		return false;
	if (o->warm_ms > 0)
		run(o, o->warm_ms, &warm);

	r->sent = flow_data.next_seq;
	r->received = sink_far.frames;
	r->self_ns = load_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	r->peer_ns = o->peer_pid ? load_clock_ns(process_clock(o->peer_pid)) : 0;
	r->wall_ns = load_clock_ns(CLOCK_MONOTONIC);
	run(o, o->ms, r);
	r->wall_ns = load_clock_ns(CLOCK_MONOTONIC) - r->wall_ns;
	r->peer_ns = o->peer_pid ? load_clock_ns(process_clock(o->peer_pid)) - r->peer_ns : 0;
	r->self_ns = load_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - r->self_ns;
	r->sent = flow_data.next_seq - r->sent;
	r->received = sink_far.frames - r->received;

	drv_flush(0);
	drain(o->count != 0 ? 60000 : 200);
	r->total_sent = flow_data.next_seq;
	r->total_received = sink_far.frames;
	r->gap_ns = ns_of_tsc(r->gap_ns);
	if (r->samples > 0) {
		qsort(samples_ns, r->samples, sizeof(samples_ns[0]), compare_u32);
		r->p50_ns = samples_ns[r->samples / 2];
		r->p99_ns = samples_ns[(uint64_t)r->samples * 99 / 100];
	}
	return true;
}

/* ---- the line protocol ----------------------------------------------------------------------- */

static void __attribute__((format(printf, 1, 2))) load_answer(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	if (write(load_out_fd, line, (size_t)n) != n)
		exit(1);
}

/* A decimal number; anything else is 2^32-1, which no command accepts. */
static uint32_t load_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return *text == '\0' || *end != '\0' || n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static bool order_key(struct load_order *o, const char *key, const char *value)
{
	uint32_t n = load_number(value);

	if (strcmp(key, "size") == 0)
		o->frame_bytes = n;
	else if (strcmp(key, "pairs") == 0)
		o->pairs_count = n;
	else if (strcmp(key, "ms") == 0)
		o->ms = n;
	else if (strcmp(key, "warm") == 0)
		o->warm_ms = n;
	else if (strcmp(key, "closed") == 0)
		o->closed = n;
	else if (strcmp(key, "count") == 0)
		o->count = n;
	else if (strcmp(key, "pid") == 0)
		o->peer_pid = n;
	else if (strcmp(key, "verify") == 0)
		o->verify = n != 0;
	else if (strcmp(key, "ping") == 0)
		o->ping = n != 0;
	else
		return false;
	return true;
}

static bool order_parse(struct load_order *o, char *words)
{
	char *save = NULL;

	*o = (struct load_order){.frame_bytes = 64, .pairs_count = 1, .ms = 80, .warm_ms = 10};
	for (char *w = strtok_r(words, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		char *eq = strchr(w, '=');

		if (!eq)
			return false;
		*eq = '\0';
		if (!order_key(o, w, eq + 1))
			return false;
	}
	return o->frame_bytes >= LOAD_BYTES_MIN && o->frame_bytes <= LOAD_BYTES_MAX &&
	       o->pairs_count >= 1 && o->pairs_count <= LOAD_PAIRS_MAX &&
	       (o->pairs_count & (o->pairs_count - 1)) == 0 && o->ms > 0;
}

static void serve_window(char *words)
{
	static uint32_t window_id;
	struct load_result r;
	struct load_order o;

	if (!order_parse(&o, words)) {
		load_answer("{\"error\": \"bad window command\"}");
		return;
	}
	o.window = ++window_id;
	if (!window(&o, &r)) {
		load_answer("{\"error\": \"announcements did not arrive: %#" PRIx64 " %#" PRIx64
			    "\"}",
			    sink_near.announced, sink_far.announced);
		return;
	}
	load_answer("{\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"total_sent\": %" PRIu64
		    ", \"total_received\": %" PRIu64 ", \"bad\": %" PRIu64 ", \"short\": %" PRIu64
		    ", \"reordered\": %" PRIu64 ", \"foreign\": %" PRIu64 ", \"loops\": %" PRIu64
		    ", \"full_loops\": %" PRIu64 ", \"wall_ns\": %" PRIu64 ", \"self_ns\": %" PRIu64
		    ", \"peer_ns\": %" PRIu64 ", \"gap_ns\": %" PRIu64 ", \"p50_ns\": %" PRIu64
		    ", \"p99_ns\": %" PRIu64 ", \"samples\": %u}",
		    r.sent, r.received, r.total_sent, r.total_received, sink_far.bad, sink_far.cut,
		    sink_far.reordered, sink_far.foreign, r.loops, r.full_loops, r.wall_ns,
		    r.self_ns, r.peer_ns, r.gap_ns, r.p50_ns, r.p99_ns, r.samples);
}

/** load_serve() - answer commands until stdin ends or says `quit` */
static void load_serve(void)
{
	char line[512];

	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "window", 6) == 0)
			serve_window(line + 6);
		else if (strncmp(line, "quit", 4) == 0)
			break;
		else
			load_answer("{\"error\": \"unknown command\"}");
	}
}

#endif
