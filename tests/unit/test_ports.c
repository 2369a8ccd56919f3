/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance: what every port type owes to whoever sends to it. Ownership (every buffer comes
 * back exactly once, never while it can be looked at), completion, liveness (in its turn, or
 * within the hold limit, with no further frame, kick or interrupt), and no leak.
 *
 * A registered type without a line in the table here fails. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "holder_port.h"
#include "ports_world.h"
#include "rig.h"

#define LIMIT_NS NS_PER_MS
#define START_NS NS_PER_S

static uint64_t now_ns;

static void time_passes(struct rig *r, uint64_t ns)
{
	now_ns += ns;
	clock_set_virtual(now_ns);
	engine_run_once(r->engine);
}

static unsigned in_flight(struct rig_guest *g)
{
	rig_reap(g);
	return oracle_in_flight(&g->ledger);
}

/* Back in its turn when the port is synchronous, else within the limit and a turn. */
static void check_back(struct rig *r, struct rig_guest *g, const struct port_ops *type)
{
	engine_run_once(r->engine);
	if (type->caps & PORT_SYNC) {
		assert_int_equal(in_flight(g), 0);
		return;
	}
	time_passes(r, LIMIT_NS);
	engine_run_once(r->engine);
	assert_int_equal(in_flight(g), 0);
}

static void send_sizes(struct rig *r, struct rig_guest *g, const uint8_t to[6],
		       const struct port_ops *type)
{
	static const uint32_t sizes[] = {60, 64, 127, 128, 129, 140, 1514, 4000, 9014};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* One frame, then silence (hazard 32). */
		assert_true(rig_send(g, to, sizes[i]));
		check_back(r, g, type);
	}
	for (unsigned i = 0; i < 30; i++)
		assert_true(rig_send(g, to, sizes[i % ARRAY_SIZE(sizes)]));
	check_back(r, g, type);
}

/* The whole of it for one type and one kind of sender. */
static void conform(const struct ports_world_line *line, const struct port_ops *type,
		    uint64_t features, unsigned pieces)
{
	static const uint8_t behind[6] = {2, 0, 0, 0, 7, 7};
	struct rig_options options = {.hold_limit_ns = LIMIT_NS};
	struct rig_guest_options guest = {
		.features = GUEST_F_VERSION_1 | features,
		.tx_pieces = (uint16_t)pieces,
	};
	struct rig *r = test_calloc(1, sizeof(*r));
	struct rig_guest *g;
	struct port *p;

	now_ns = START_NS;
	clock_set_virtual(now_ns);
	rig_open(r, &options);
	g = rig_guest_add(r, &guest);
	ports_world_enter(&r->env);
	p = rig_port_add(r, "x", type, line->config);
	if (type == &holder_port_ops)
		holder_configure(p, r, 0, HOLDER_HONEST);
	send_sizes(r, g, rig_broadcast, type);
	bridge_fdb_learn(r->bridge, behind, p);
	send_sizes(r, g, behind, type);
	rig_check_accounts(r);
	/* Under traffic the port goes: what it has comes back, what was for it is dropped. */
	for (unsigned i = 0; i < 10; i++)
		assert_true(rig_send(g, behind, 1000));
	engine_run_once(r->engine);
	port_free(p);
	r->port_count--;
	engine_run_once(r->engine);
	assert_int_equal(in_flight(g), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_true(rig_send(g, behind, 1000));
	engine_run_once(r->engine);
	assert_int_equal(in_flight(g), 0);
	rig_close(r);
	ports_world_leave(&r->env);
	test_free(r);
	clock_set_virtual(0);
}

static void conform_all_senders(const struct ports_world_line *line, const struct port_ops *type)
{
	struct oracle_baseline before;

	oracle_baseline_take(&before);
	conform(line, type, 0, 1);
	conform(line, type, GUEST_F_IN_ORDER, 1);
	conform(line, type, GUEST_F_EVENT_IDX, 4);
	oracle_baseline_check(&before);
}

static void test_every_registered_type(void **state)
{
	(void)state;
	for (unsigned i = 0; port_type_at(i); i++) {
		const struct port_ops *type = port_type_at(i);
		const struct ports_world_line *line = ports_world_find(type->type);

		if (!line) {
			fail_msg("port type %s has no line in tests/lib/ports_world.c", type->type);
			return; /* for linters, which do not know that fail_msg() does not */
		}
		if (line->missing && line->missing()) {
			print_message("# %s: not here: %s\n", type->type, line->missing());
			assert_null(getenv("CI")); /* there a skip is a failure */
			continue;
		}
		print_message("# %s\n", type->type);
		conform_all_senders(line, type);
	}
}

static void test_holder(void **state)
{
	static const struct ports_world_line line = {.type = "holder"};

	(void)state;
	conform_all_senders(&line, &holder_port_ops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_registered_type),
		cmocka_unit_test(test_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
