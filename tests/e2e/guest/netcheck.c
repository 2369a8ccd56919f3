/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netcheck - send and verify traffic from inside a test guest.
 *
 * Theory of operation
 *
 * One static program without dependencies, for a guest whose root file system is an initramfs. It
 * checks every byte at both ends, so that a frame that was lost, doubled, swapped with another,
 * truncated or changed in one bit fails the test:
 *
 *   tcp   both sides send a stream at the same time, each followed by its SHA-256; each side hashes
 *         what it received, and the server tells the client its verdict.
 *   udp   one datagram after another, a window of them in flight. Each byte is a function of
 *         (session, direction, sequence number, length, offset), and the receiver knows which
 *         sequence number comes next, so that even a datagram of one byte needs no header.
 *   ping  ICMP echo on a raw socket; the reply of the other kernel is compared byte by byte.
 *
 * Each command prints one line: a word, `ok` or `bad`, then key=value pairs; the exit status is 0
 * for ok. `serve` runs until it is killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAGIC		   0x6c725443u
#define CHUNK_BYTES	   ((size_t)65536)
#define DIGEST_BYTES	   32
#define DATAGRAM_MAX_BYTES 65507
#define IO_TIMEOUT_MS	   20000

static uint8_t chunk_in[CHUNK_BYTES];
static uint8_t chunk_out[CHUNK_BYTES];
static uint8_t datagram[DATAGRAM_MAX_BYTES + 64];
static uint8_t expected[DATAGRAM_MAX_BYTES + 64];

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (!*text || *end)
		fail("usage: '%s' is not a number", text);
	return value;
}

static uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* SHA-256, FIPS 180-4 */

struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

static const uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static uint32_t ror32(uint32_t x, unsigned int n)
{
	return (x >> n) | (x << (32 - n));
}

static void sha256_block(struct sha256 *s, const uint8_t *p)
{
	uint32_t w[64];
	uint32_t v[8];

	for (size_t i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
		       (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (size_t i = 16; i < 64; i++) {
		uint32_t a = ror32(w[i - 15], 7) ^ ror32(w[i - 15], 18) ^ (w[i - 15] >> 3);
		uint32_t b = ror32(w[i - 2], 17) ^ ror32(w[i - 2], 19) ^ (w[i - 2] >> 10);

		w[i] = w[i - 16] + a + w[i - 7] + b;
	}
	memcpy(v, s->state, sizeof(v));
	for (size_t i = 0; i < 64; i++) {
		uint32_t s1 = ror32(v[4], 6) ^ ror32(v[4], 11) ^ ror32(v[4], 25);
		uint32_t s0 = ror32(v[0], 2) ^ ror32(v[0], 13) ^ ror32(v[0], 22);
		uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha256_k[i] + w[i];
		uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (size_t i = 0; i < 8; i++)
		s->state[i] += v[i];
}

static void sha256_init(struct sha256 *s)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(s->state, start, sizeof(start));
	s->bytes = 0;
}

static void sha256_add(struct sha256 *s, const uint8_t *p, size_t bytes)
{
	size_t fill = s->bytes % 64;

	s->bytes += bytes;
	if (fill) {
		size_t take = 64 - fill < bytes ? 64 - fill : bytes;

		memcpy(s->block + fill, p, take);
		p += take;
		bytes -= take;
		if (fill + take < 64)
			return;
		sha256_block(s, s->block);
	}
	for (; bytes >= 64; p += 64, bytes -= 64)
		sha256_block(s, p);
	memcpy(s->block, p, bytes);
}

static void sha256_end(struct sha256 *s, uint8_t digest[DIGEST_BYTES])
{
	uint64_t bits = s->bytes * 8;
	uint8_t pad[72] = {0x80};
	size_t pad_bytes = 1 + (119 - s->bytes % 64) % 64;

	for (size_t i = 0; i < 8; i++)
		pad[pad_bytes + i] = (uint8_t)(bits >> (56 - 8 * i));
	sha256_add(s, pad, pad_bytes + 8);
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		digest[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void hex(const uint8_t digest[DIGEST_BYTES], char text[2 * DIGEST_BYTES + 1])
{
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* sockets */

static socklen_t address(const char *host, const char *port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)number(port));
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		fail("usage: '%s' is not a numeric address", host);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)number(port));
	return sizeof(*v6);
}

static void set_timeout(int fd, unsigned int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static void set_buffer(int fd, int option)
{
	int bytes = 4 << 20;
	int force = option == SO_RCVBUF ? SO_RCVBUFFORCE : SO_SNDBUFFORCE;

	if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
}

static bool io_all(int fd, void *data, size_t bytes, bool out)
{
	uint8_t *p = data;

	while (bytes) {
		ssize_t n = out ? send(fd, p, bytes, MSG_NOSIGNAL) : recv(fd, p, bytes, 0);

		if (n <= 0)
			return false;
		p += n;
		bytes -= (size_t)n;
	}
	return true;
}

/* TCP */

struct request {
	uint32_t magic;
	uint32_t pad;
	uint64_t up_bytes;
	uint64_t down_bytes;
	uint64_t seed;
};

/* One direction of a stream: payload_bytes of payload, then their digest. */
struct stream {
	struct sha256 sha;
	uint64_t left_bytes;
	uint64_t rng;
	size_t have_bytes;
	size_t done_bytes;
	bool digest_queued;
	bool finished;
	uint8_t digest[DIGEST_BYTES];
	uint8_t told[DIGEST_BYTES];
	size_t told_bytes;
};

static void stream_refill(struct stream *s)
{
	size_t bytes = s->left_bytes < CHUNK_BYTES ? (size_t)s->left_bytes : CHUNK_BYTES;

	s->done_bytes = 0;
	s->have_bytes = bytes;
	s->left_bytes -= bytes;
	if (!bytes && !s->digest_queued) {
		sha256_end(&s->sha, s->digest);
		memcpy(chunk_out, s->digest, DIGEST_BYTES);
		s->have_bytes = DIGEST_BYTES;
		s->digest_queued = true;
		return;
	}
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = mix64(s->rng++);

		memcpy(chunk_out + i, &word, 8);
	}
	sha256_add(&s->sha, chunk_out, bytes);
}

static bool stream_send(int fd, struct stream *s, uint64_t flip_at)
{
	ssize_t n;

	if (s->done_bytes == s->have_bytes) {
		stream_refill(s);
		/* The canary: one bit is changed after it was hashed. */
		if (!s->digest_queued && flip_at >= s->left_bytes &&
		    flip_at < s->left_bytes + s->have_bytes)
			chunk_out[s->have_bytes / 2] ^= 0x10;
	}
	if (!s->have_bytes) {
		s->finished = true;
		return true;
	}
	n = send(fd, chunk_out + s->done_bytes, s->have_bytes - s->done_bytes, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN;
	s->done_bytes += (size_t)n;
	s->finished = s->digest_queued && s->done_bytes == s->have_bytes;
	return true;
}

static bool stream_recv(int fd, struct stream *s)
{
	bool payload = s->left_bytes > 0;
	size_t want = payload ? CHUNK_BYTES : DIGEST_BYTES - s->told_bytes;
	uint8_t *to = payload ? chunk_in : s->told + s->told_bytes;
	ssize_t n;

	if (payload && want > s->left_bytes)
		want = (size_t)s->left_bytes;
	n = recv(fd, to, want, 0);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	if (payload) {
		sha256_add(&s->sha, chunk_in, (size_t)n);
		s->left_bytes -= (uint64_t)n;
		return true;
	}
	s->told_bytes += (size_t)n;
	if (s->told_bytes == DIGEST_BYTES) {
		sha256_end(&s->sha, s->digest);
		s->finished = true;
	}
	return true;
}

/* Both directions at once. Returns NULL, or what went wrong. */
static const char *duplex(int fd, struct stream *out, struct stream *in, uint64_t flip_at)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	while (!out->finished || !in->finished) {
		struct pollfd p = {.fd = fd};

		p.events = (short)((out->finished ? 0 : POLLOUT) | (in->finished ? 0 : POLLIN));
		if (poll(&p, 1, IO_TIMEOUT_MS) <= 0)
			return "timeout";
		if (!in->finished && (p.revents & (POLLIN | POLLHUP)) && !stream_recv(fd, in))
			return "receive";
		if (!out->finished && (p.revents & POLLOUT) && !stream_send(fd, out, flip_at))
			return "send";
		if (p.revents & POLLERR)
			return "reset";
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return memcmp(in->digest, in->told, DIGEST_BYTES) ? "sha256" : NULL;
}

static void tcp_child(int fd)
{
	struct request r;
	struct stream in = {0};
	struct stream out = {0};
	const char *wrong;
	char verdict;

	set_timeout(fd, IO_TIMEOUT_MS);
	if (!io_all(fd, &r, sizeof(r), false) || r.magic != MAGIC)
		fail("tcp-server bad why=request");
	sha256_init(&in.sha);
	sha256_init(&out.sha);
	in.left_bytes = r.up_bytes;
	out.left_bytes = r.down_bytes;
	out.rng = mix64(r.seed + 1);
	wrong = duplex(fd, &out, &in, UINT64_MAX);
	verdict = wrong ? 'X' : 'K';
	if (!io_all(fd, &verdict, 1, true) && !wrong)
		wrong = "verdict";
	if (wrong)
		fail("tcp-server bad why=%s left=%llu", wrong, (unsigned long long)in.left_bytes);
	exit(0);
}

static int tcp_client(int argc, char **argv)
{
	struct sockaddr_storage addr;
	struct request r = {.magic = MAGIC};
	struct stream in = {0};
	struct stream out = {0};
	char text[2 * DIGEST_BYTES + 1];
	const char *wrong;
	char verdict = '-';
	uint64_t start;
	uint64_t flip_at = argc > 6 ? number(argv[6]) : UINT64_MAX;
	socklen_t bytes = address(argv[2], argv[3], &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM, 0);

	set_timeout(fd, IO_TIMEOUT_MS);
	if (connect(fd, (struct sockaddr *)&addr, bytes))
		fail("tcp bad why=connect errno=%d", errno);
	r.up_bytes = number(argv[4]);
	r.down_bytes = number(argv[5]);
	r.seed = now_us();
	sha256_init(&in.sha);
	sha256_init(&out.sha);
	out.left_bytes = r.up_bytes;
	out.rng = mix64(r.seed);
	in.left_bytes = r.down_bytes;
	start = now_us();
	if (!io_all(fd, &r, sizeof(r), true))
		fail("tcp bad why=request errno=%d", errno);
	wrong = duplex(fd, &out, &in, flip_at);
	if (!wrong && !io_all(fd, &verdict, 1, false))
		wrong = "no-verdict";
	if (!wrong && verdict != 'K')
		wrong = "peer-sha256";
	if (wrong)
		fail("tcp bad why=%s in_left=%llu out_left=%llu errno=%d", wrong,
		     (unsigned long long)in.left_bytes, (unsigned long long)out.left_bytes, errno);
	hex(r.up_bytes ? out.digest : in.digest, text);
	printf("tcp ok up=%llu down=%llu ms=%llu sha256=%s\n", (unsigned long long)r.up_bytes,
	       (unsigned long long)r.down_bytes, (unsigned long long)(now_us() - start) / 1000u,
	       text);
	return 0;
}

/* UDP */

/* First datagram of a session: the server starts to count at 0. Answered by itself. */
struct hello {
	uint32_t magic;
	uint32_t session;
};

static void pattern(uint8_t *to, uint32_t session, uint32_t direction, uint32_t seq, size_t bytes)
{
	uint64_t base = mix64((uint64_t)session << 32 | seq) ^ mix64(bytes * 2 + direction);

	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = mix64(base + i);

		/* Both buffers have room behind the longest datagram. */
		memcpy(to + i, &word, 8);
	}
}

static void udp_serve(int fd)
{
	struct sockaddr_storage from;
	struct hello hello;
	uint32_t session = 0;
	uint32_t seq = 0;
	bool broken = true;

	for (;;) {
		socklen_t from_bytes = sizeof(from);
		ssize_t n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&from,
				     &from_bytes);

		if (n < 0)
			continue;
		memcpy(&hello, datagram, sizeof(hello));
		if (n == sizeof(hello) && hello.magic == MAGIC) {
			session = hello.session;
			seq = 0;
			broken = false;
			sendto(fd, &hello, sizeof(hello), 0, (struct sockaddr *)&from, from_bytes);
			continue;
		}
		if (broken)
			continue;
		pattern(expected, session, 0, seq, (size_t)n);
		if (memcmp(expected, datagram, (size_t)n) != 0) {
			printf("udp-server bad seq=%u bytes=%zd\n", seq, n);
			broken = true;
			continue;
		}
		pattern(datagram, session, 1, seq, (size_t)n);
		seq++;
		sendto(fd, datagram, (size_t)n, 0, (struct sockaddr *)&from, from_bytes);
	}
}

static void udp_hello(int fd, uint32_t session)
{
	struct hello hello = {.magic = MAGIC, .session = session};
	struct hello reply = {0};

	for (size_t i = 0; i < 20; i++) {
		set_timeout(fd, 500);
		if (send(fd, &hello, sizeof(hello), 0) < 0)
			usleep(100000);
		while (recv(fd, &reply, sizeof(reply), 0) == sizeof(reply)) {
			if (reply.session == session) {
				set_timeout(fd, 5000);
				return;
			}
		}
	}
	fail("udp bad why=no-server");
}

static int udp_client(int argc, char **argv)
{
	struct sockaddr_storage addr;
	socklen_t addr_bytes = address(argv[2], argv[3], &addr);
	int fd = socket(addr.ss_family, SOCK_DGRAM, 0);
	size_t from = number(argv[4]);
	size_t to = number(argv[5]);
	size_t step = number(argv[6]);
	size_t window = number(argv[7]);
	size_t count;
	size_t sent = 0;
	uint32_t session = (uint32_t)now_us();

	(void)argc;
	if (!step || !window || from < 1 || to < from || to > DATAGRAM_MAX_BYTES)
		fail("usage: udp ADDRESS PORT FROM TO STEP WINDOW");
	count = (to - from) / step + 1;
	set_buffer(fd, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUF);
	if (connect(fd, (struct sockaddr *)&addr, addr_bytes))
		fail("udp bad why=connect errno=%d", errno);
	udp_hello(fd, session);
	for (size_t got = 0; got < count; got++) {
		size_t bytes = from + got * step;
		ssize_t n;

		for (; sent < count && sent < got + window; sent++) {
			size_t out = from + sent * step;

			pattern(expected, session, 0, (uint32_t)sent, out);
			if (send(fd, expected, out, 0) != (ssize_t)out)
				fail("udp bad why=send seq=%zu bytes=%zu errno=%d", sent, out,
				     errno);
		}
		n = recv(fd, datagram, sizeof(datagram), 0);
		if (n < 0)
			fail("udp bad why=lost seq=%zu bytes=%zu", got, bytes);
		pattern(expected, session, 1, (uint32_t)got, bytes);
		if (n != (ssize_t)bytes || memcmp(datagram, expected, bytes) != 0)
			fail("udp bad why=payload seq=%zu bytes=%zu got=%zd", got, bytes, n);
	}
	/* Nothing came twice. */
	set_timeout(fd, 50);
	if (recv(fd, datagram, sizeof(datagram), 0) >= 0)
		fail("udp bad why=surplus");
	printf("udp ok datagrams=%zu from=%zu to=%zu\n", count, from, to);
	return 0;
}

/* ICMP */

static uint16_t inet_sum(const uint8_t *p, size_t bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < bytes; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (bytes % 2)
		sum += (uint32_t)p[bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Sends one echo request and waits for its reply. Returns NULL, or what went wrong. */
static const char *ping_one(int fd, uint16_t id, uint16_t seq, size_t bytes, unsigned int wait_ms)
{
	struct icmphdr h = {.type = ICMP_ECHO};
	uint64_t deadline = now_us() + (uint64_t)wait_ms * 1000u;

	h.un.echo.id = htons(id);
	h.un.echo.sequence = htons(seq);
	pattern(expected + sizeof(h), id, 0, seq, bytes);
	memcpy(expected, &h, sizeof(h));
	h.checksum = htons(inet_sum(expected, sizeof(h) + bytes));
	memcpy(expected, &h, sizeof(h));
	if (send(fd, expected, sizeof(h) + bytes, 0) < 0)
		return "send";
	set_timeout(fd, wait_ms);
	while (now_us() < deadline) {
		ssize_t n = recv(fd, datagram, sizeof(datagram), 0);
		size_t ip_bytes = (size_t)(datagram[0] & 15) * 4;

		if (n < 0)
			return "lost";
		if ((size_t)n < ip_bytes + sizeof(h))
			continue;
		memcpy(&h, datagram + ip_bytes, sizeof(h));
		if (h.type != ICMP_ECHOREPLY || h.un.echo.id != htons(id) ||
		    h.un.echo.sequence != htons(seq))
			continue;
		if ((size_t)n != ip_bytes + sizeof(h) + bytes)
			return "length";
		if (memcmp(datagram + ip_bytes + sizeof(h), expected + sizeof(h), bytes) != 0)
			return "payload";
		return NULL;
	}
	return "lost";
}

static int ping_socket(const char *host)
{
	struct sockaddr_storage addr;
	socklen_t bytes = address(host, "0", &addr);
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	set_buffer(fd, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUF);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, bytes))
		fail("ping bad why=socket errno=%d", errno);
	return fd;
}

/* ping ADDRESS FROM TO STEP: every size once, none may be lost. */
static int ping_sizes(int argc, char **argv)
{
	int fd = ping_socket(argv[2]);
	size_t from = number(argv[3]);
	size_t to = number(argv[4]);
	size_t step = number(argv[5]);
	uint16_t seq = 0;

	(void)argc;
	for (size_t bytes = from; bytes <= to; bytes += step) {
		const char *wrong = ping_one(fd, (uint16_t)getpid(), seq++, bytes, 3000);

		if (wrong)
			fail("ping bad why=%s bytes=%zu errno=%d", wrong, bytes, errno);
	}
	printf("ping ok count=%u from=%zu to=%zu\n", seq, from, to);
	return 0;
}

/* reach ADDRESS MS: how long until a reply comes, at most MS. */
static int reach(int argc, char **argv)
{
	int fd = ping_socket(argv[2]);
	uint64_t limit_us = number(argv[3]) * 1000u;
	uint64_t start = now_us();
	uint16_t seq = 0;

	(void)argc;
	while (now_us() - start < limit_us) {
		uint64_t sent = now_us();

		if (!ping_one(fd, (uint16_t)getpid(), seq++, 56, 200)) {
			printf("reach ok ms=%llu sent=%u\n",
			       (unsigned long long)(now_us() - start) / 1000u, seq);
			return 0;
		}
		if (now_us() - sent < 100000)
			usleep(100000);
	}
	fail("reach bad ms=%llu", (unsigned long long)limit_us / 1000u);
}

/* serve PORT: TCP and UDP on both address families. */
static int serve(int argc, char **argv)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
	int tcp = socket(AF_INET6, SOCK_STREAM, 0);
	int udp = socket(AF_INET6, SOCK_DGRAM, 0);
	int one = 1;

	(void)argc;
	any.sin6_port = htons((uint16_t)number(argv[2]));
	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	set_buffer(udp, SO_RCVBUF);
	set_buffer(udp, SO_SNDBUF);
	if (bind(tcp, (struct sockaddr *)&any, sizeof(any)) || listen(tcp, 8) ||
	    bind(udp, (struct sockaddr *)&any, sizeof(any)))
		fail("serve bad why=bind errno=%d", errno);
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		udp_serve(udp);
	}
	printf("serve ok\n");
	for (;;) {
		int fd = accept(tcp, NULL, NULL);

		if (fd >= 0 && !fork())
			tcp_child(fd);
		close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static int hash(int argc, char **argv)
{
	struct sha256 s;
	uint8_t digest[DIGEST_BYTES];
	char text[2 * DIGEST_BYTES + 1];
	ssize_t n;

	(void)argc;
	(void)argv;
	sha256_init(&s);
	while ((n = read(0, chunk_in, CHUNK_BYTES)) > 0)
		sha256_add(&s, chunk_in, (size_t)n);
	sha256_end(&s, digest);
	hex(digest, text);
	puts(text);
	return 0;
}

static const struct command {
	const char *name;
	int arg_count;
	int (*run)(int argc, char **argv);
	const char *args;
} commands[] = {
	{"serve", 1, serve, "PORT"},
	{"tcp", 4, tcp_client, "ADDRESS PORT UP_BYTES DOWN_BYTES [FLIP_AT]"},
	{"udp", 6, udp_client, "ADDRESS PORT FROM TO STEP WINDOW"},
	{"ping", 4, ping_sizes, "ADDRESS FROM TO STEP"},
	{"reach", 2, reach, "ADDRESS MS"},
	{"hash", 0, hash, "< FILE"},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];

		if (argc > 1 && !strcmp(argv[1], c->name) && argc - 2 >= c->arg_count)
			return c->run(argc, argv);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf("usage: netcheck %s %s\n", commands[i].name, commands[i].args);
	return 2;
}
