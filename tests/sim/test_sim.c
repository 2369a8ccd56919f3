/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulator: the production rings, buffers, switch and engine with our own guests, in one
 * thread, under a virtual clock and a seed.
 *
 * A seed decides everything: guests and their rings, who sends what to whom, who stops reading,
 * when rings are stopped and started, how a holding port releases what it keeps. A run is repeated
 * exactly by its seed: test_sim SEED.
 *
 * Checked (by the rig and below): every frame that is received anywhere is whole and was sent;
 * every transmit buffer comes back exactly once, never while somebody can still look at it (it is
 * poisoned at once), and within the hold limit and one turn; every frame that went in is accounted
 * for; nothing is left at the end.
 * Not checked: timing on a wall clock, races (see the threaded tests under TSan).
 *
 * A canary plants a port that looks at frames after their turn: the checks must find it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "holder_port.h"
#include "rig.h"

#define SEEDS	      60
#define STEPS	      1500
#define STEP_NS	      (20 * NS_PER_US)
#define HOLDERS	      2
#define CANARY_SEEDS  20
#define HOLD_LIMIT_NS NS_PER_MS
#define DRAIN_TURNS   16 /* rings are at most 256 long and a turn takes 32 */

struct sim {
	struct rig rig;
	uint64_t random;
	uint64_t now_ns;
	struct port *holders[HOLDERS];
	bool reads[RIG_GUESTS_MAX]; /* whether the guest looks at its receive ring */
	uint64_t lent;
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(struct sim *s)
{
	uint64_t z = (s->random += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static unsigned below(struct sim *s, unsigned n)
{
	return (unsigned)(next_random(s) % n);
}

static void guest_make(struct sim *s)
{
	struct rig_guest_options o = {
		.tx_size = 16u << below(s, 5),
		.rx_size = 16u << below(s, 5),
		.tx_pieces = (uint16_t)(1 + below(s, 4)),
		.header_apart = below(s, 2),
		.rx_bytes = 512u << below(s, 5),
	};

	if (below(s, 4))
		o.features |= GUEST_F_VERSION_1;
	if (below(s, 3))
		o.features |= GUEST_F_MRG_RXBUF;
	if (below(s, 3) == 0)
		o.features |= GUEST_F_IN_ORDER;
	if (below(s, 2))
		o.features |= GUEST_F_EVENT_IDX;
	if (below(s, 2)) {
		o.features |= GUEST_F_INDIRECT;
		o.indirect = (enum guest_indirect)below(s, 4);
		if (o.indirect == GUEST_INDIRECT_TAIL && o.tx_pieces < 2)
			o.indirect = GUEST_INDIRECT_CHAINS;
	}
	s->reads[s->rig.guest_count] = true;
	rig_guest_add(&s->rig, &o);
}

static void sim_open(struct sim *s, uint64_t seed, enum holder_plant plant)
{
	struct rig_options options = {.hold_limit_ns = HOLD_LIMIT_NS};
	unsigned guests;

	memset(s, 0, sizeof(*s));
	s->random = seed;
	s->now_ns = NS_PER_S;
	clock_set_virtual(s->now_ns);
	options.worker_count = 1 + below(s, 3);
	options.copy_all = below(s, 10) == 0 && plant == HOLDER_HONEST;
	rig_open(&s->rig, &options);
	s->rig.lenient = plant != HOLDER_HONEST;
	guests = 2 + below(s, 4);
	for (unsigned i = 0; i < guests; i++)
		guest_make(s);
	for (unsigned i = 0; i < HOLDERS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "h%u", i);
		s->holders[i] = rig_port_add(&s->rig, name, &holder_port_ops, NULL);
		holder_configure(s->holders[i], &s->rig, below(s, 3) ? 0 : 2 * HOLD_LIMIT_NS,
				 plant);
	}
}

static void step_send(struct sim *s)
{
	static const uint8_t nobody[6] = {2, 0, 0, 9, 9, 9};
	struct rig_guest *g = &s->rig.guests[below(s, s->rig.guest_count)];
	unsigned burst = 1 + below(s, 40);

	while (burst--) {
		uint32_t bytes = below(s, 4) ? 60 + below(s, 1455) : 26 + below(s, 9000);
		unsigned kind = below(s, 10);
		const uint8_t *to = rig_broadcast;

		if (kind < 6)
			to = s->rig.guests[below(s, s->rig.guest_count)].mac;
		else if (kind < 7)
			to = nobody;
		if (!rig_send(g, to, bytes))
			return;
	}
}

static void step_ring(struct sim *s)
{
	struct rig_guest *g = &s->rig.guests[below(s, s->rig.guest_count)];

	if (below(s, 2)) {
		if (g->tx_running)
			rig_guest_tx_stop(g);
		else
			rig_guest_tx_start(g);
		return;
	}
	if (g->rx_running)
		rig_guest_rx_stop(g);
	else
		rig_guest_rx_start(g);
}

static void release_some(struct sim *s, unsigned count)
{
	struct port *p = s->holders[below(s, HOLDERS)];

	for (unsigned i = 0; i < engine_worker_count(s->rig.engine); i++) {
		s->lent += holder_lent(p, i);
		holder_release(p, engine_worker(s->rig.engine, i), count,
			       (enum holder_order)below(s, 3), next_random(s));
	}
}

static void guests_look(struct sim *s)
{
	for (unsigned i = 0; i < s->rig.guest_count; i++) {
		rig_reap(&s->rig.guests[i]);
		if (s->reads[i])
			rig_receive(&s->rig.guests[i], 1 + below(s, 64));
	}
}

static void time_passes(struct sim *s, uint64_t ns)
{
	s->now_ns += ns;
	clock_set_virtual(s->now_ns);
	engine_run_once(s->rig.engine);
}

static void sim_step(struct sim *s)
{
	unsigned what = below(s, 100);

	if (what < 50)
		step_send(s);
	else if (what < 60)
		release_some(s, 1 + below(s, 100));
	else if (what < 62)
		step_ring(s);
	else if (what < 64)
		s->reads[below(s, s->rig.guest_count)] ^= true;
	time_passes(s, below(s, 20) ? STEP_NS : 40 * STEP_NS);
	guests_look(s);
}

/* Nobody sends any more and no holder lets go: everything comes back within the limit all the
 * same, without another frame, kick or release (hazards 28, 30, 32). */
static void sim_settle(struct sim *s)
{
	for (unsigned i = 0; i < s->rig.guest_count; i++)
		if (!s->rig.guests[i].tx_running)
			rig_guest_tx_start(&s->rig.guests[i]);
	for (unsigned turn = 0; turn < DRAIN_TURNS; turn++)
		engine_run_once(s->rig.engine);
	for (uint64_t waited_ns = 0; waited_ns <= HOLD_LIMIT_NS; waited_ns += STEP_NS)
		time_passes(s, STEP_NS);
	engine_run_once(s->rig.engine); /* what completed behind the last burst is published here */
	if (!s->rig.lenient)
		rig_check_accounts(&s->rig);
	for (unsigned i = 0; i < s->rig.guest_count; i++) {
		struct rig_guest *g = &s->rig.guests[i];

		rig_reap(g);
		if (oracle_in_flight(&g->ledger))
			rig_violation(&s->rig, "g%u: %u buffers did not come back in time", i,
				      oracle_in_flight(&g->ledger));
	}
}

struct outcome {
	uint64_t sent;
	uint64_t received;
	uint64_t lent;
	unsigned violations;
};

static struct outcome sim_run(uint64_t seed, enum holder_plant plant)
{
	struct sim *s = malloc(sizeof(*s));
	struct outcome out = {0};

	ASSERT(s);
	sim_open(s, seed, plant);
	for (unsigned i = 0; i < STEPS && !s->rig.violations; i++)
		sim_step(s);
	sim_settle(s);
	for (unsigned i = 0; i < s->rig.guest_count; i++) {
		out.sent += s->rig.guests[i].sent;
		out.received += s->rig.guests[i].received;
		/* L12: a ring is stopped only when everything is back */
		ASSERT(RIG_COUNT(&s->rig, s->rig.guests[i].port, completed_old) == 0);
	}
	out.lent = s->lent;
	rig_close(&s->rig);
	out.violations = s->rig.violations;
	free(s);
	return out;
}

static void sim_many(uint64_t first, unsigned seeds)
{
	struct outcome sum = {0};

	for (uint64_t seed = first; seed < first + seeds; seed++) {
		struct outcome o;

		fprintf(stderr, "\rseed %llu ", (unsigned long long)seed);
		o = sim_run(seed, HOLDER_HONEST);
		sum.sent += o.sent;
		sum.received += o.received;
		sum.lent += o.lent;
	}
	printf("\n%u seeds: %llu frames sent, %llu received, %llu seen lent\n", seeds,
	       (unsigned long long)sum.sent, (unsigned long long)sum.received,
	       (unsigned long long)sum.lent);
	ASSERT(sum.sent);
	ASSERT(sum.received);
	ASSERT(sum.lent || seeds == 1);
}

static void sim_canary(void)
{
	unsigned caught = 0;

	for (uint64_t seed = 1; seed <= CANARY_SEEDS; seed++)
		caught += sim_run(seed, HOLDER_KEEPS_BORROWED).violations > 0;
	printf("canary: planted bug found with %u of %u seeds\n", caught, CANARY_SEEDS);
	ASSERT(caught > 0);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		sim_many(strtoull(argv[1], NULL, 0),
			 argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 1);
		return 0;
	}
	sim_many(1, SEEDS);
	sim_canary();
	return 0;
}
