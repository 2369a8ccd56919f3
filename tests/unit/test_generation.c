/* SPDX-License-Identifier: BSD-2-Clause */
/* Buffers that come back when their ring is another one, or gone (L11, L12).
 *
 * A ring is stopped only when every holder of ours has given up; what a kernel holds may come
 * later. Here the generation is counted up while a buffer is out, as it is then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "holder_port.h"
#include "port/vm_pair.h"
#include "rig.h"

struct late {
	struct rig rig;
	struct port *holder;
	struct rig_guest *sender;
	struct vm_pair *pair;
	struct worker *worker;
};

static void late_open(struct late *l)
{
	const struct rig_options options = {.hold_limit_ns = NS_PER_S};
	const struct rig_guest_options guest = {.features = GUEST_F_VERSION_1};
	struct vm_port *vm;

	clock_set_virtual(NS_PER_S);
	rig_open(&l->rig, &options);
	l->holder = rig_port_add(&l->rig, "h", &holder_port_ops, NULL);
	holder_configure(l->holder, &l->rig, 0, HOLDER_HONEST);
	l->sender = rig_guest_add(&l->rig, &guest);
	l->worker = engine_worker(l->rig.engine, 0);
	engine_run_once(l->rig.engine);
	vm = l->sender->port->impl;
	l->pair = vm->pairs[0];
	assert_true(rig_send(l->sender, rig_broadcast, 1000));
	engine_run_once(l->rig.engine);
	assert_int_equal(holder_lent(l->holder, 0), 1);
	assert_int_equal(oracle_in_flight(&l->sender->ledger), 1);
}

static struct vm_lent *lent_of(struct vm_tx *tx)
{
	for (unsigned i = 0; i < VM_LENT_MAX; i++)
		if (tx->lent[i].out)
			return &tx->lent[i];
	return NULL;
}

/* L12: it is swallowed and counted; the ring that is now never sees it. */
static void completion_of_an_earlier_generation_is_swallowed(void **state)
{
	struct vm_tx *tx;
	struct late l;
	uint16_t head;

	(void)state;
	late_open(&l);
	tx = &l.pair->tx;
	head = lent_of(tx)->head;
	tx->generation++;
	assert_int_equal(holder_release(l.holder, l.worker, 1, HOLDER_FIFO, 0), 1);
	engine_run_once(l.rig.engine);
	engine_run_once(l.rig.engine);
	rig_reap(l.sender);
	assert_int_equal(oracle_in_flight(&l.sender->ledger), 1);
	assert_int_equal(RIG_COUNT(&l.rig, l.sender->port, completed_old), 1);
	assert_int_equal(RIG_COUNT(&l.rig, l.sender->port, completed), 0);
	assert_int_equal(tx->lent_count, 0); /* the record is free again all the same */
	/* bring the ring back to where it would be, so that nothing is missing at the end */
	tx->done[tx->done_count++] = head;
	engine_run_once(l.rig.engine);
	rig_reap(l.sender);
	assert_int_equal(oracle_in_flight(&l.sender->ledger), 0);
	rig_close(&l.rig);
	clock_set_virtual(0);
}

/* L11: what was lent is given up at a stop, and published: but not to a peer that has closed. */
static void nothing_is_published_after_the_peer_is_gone(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 2; gone++) {
		struct late l;

		late_open(&l);
		vm_tx_stop(l.pair, gone);
		l.sender->tx_running = false;
		assert_int_equal(l.pair->tx.lent_count, 0);
		assert_int_equal(holder_lent(l.holder, 0), 0);
		assert_int_equal(guest_ring_used_idx(&l.sender->tx.ring), gone ? 0 : 1);
		assert_int_equal(holder_release(l.holder, l.worker, 1, HOLDER_FIFO, 0), 1);
		assert_int_equal(guest_ring_used_idx(&l.sender->tx.ring), gone ? 0 : 1);
		rig_close(&l.rig);
		clock_set_virtual(0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(completion_of_an_earlier_generation_is_swallowed),
		cmocka_unit_test(nothing_is_published_after_the_peer_is_gone),
	};

	return cmocka_run_group_tests_name("generation", tests, NULL, NULL);
}
