/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers as threads: what is said about threads, tried with 1, 2 and 3 of them. Meant for the
 * ThreadSanitizer build; the oracles watch in every build. Hazards 19, 58, 61. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "rig.h"

#define GUESTS	4
#define ROUNDS	60
#define IDLE_NS (1000 * NS_PER_MS)

struct actor {
	pthread_t thread;
	struct rig_guest *guest;
	struct rig *rig;
	_Atomic bool stop;
	unsigned random;
};

static unsigned next_random(struct actor *a)
{
	a->random = a->random * 1103515245u + 12345u;
	return a->random >> 8;
}

/* One guest's life: send to everybody, take back, receive. */
static void *actor_run(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(&a->stop)) {
		unsigned burst = next_random(a) % 32;

		while (burst--) {
			unsigned to = next_random(a) % (GUESTS + 1);

			rig_send(a->guest, to == GUESTS ? rig_broadcast : a->rig->guests[to].mac,
				 60 + next_random(a) % 1400);
		}
		rig_reap(a->guest);
		rig_receive(a->guest, 64);
	}
	return NULL;
}

static void pause_ns(uint64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S),
				   .tv_nsec = (long)(ns % NS_PER_S)};

	nanosleep(&t, NULL);
}

/* Rings stop and start, ports come and go, settings change, all under traffic. */
static void disturb(struct rig *r)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct rig_guest *g = &r->guests[round % GUESTS];
		struct vm_port *vm = g->port->impl;
		struct vm_pair_show show;
		struct port *extra;

		rig_guest_tx_stop(g);
		rig_guest_tx_start(g);
		rig_guest_rx_stop(g);
		rig_guest_rx_start(g);
		vm_rx_enable(vm->pairs[0], false);
		vm_tx_enable(vm->pairs[0], false);
		vm_pair_show(vm->pairs[0], &show);
		vm_tx_enable(vm->pairs[0], true);
		vm_rx_enable(vm->pairs[0], true);
		extra = rig_port_add(r, "extra", port_type_find("null"), NULL);
		bridge_fdb_flush(r->bridge, NULL);
		bridge_age(r->bridge, clock_now_ns());
		pause_ns(2 * NS_PER_MS);
		port_free(extra);
		r->port_count--;
	}
}

static void threads_run(unsigned workers, uint64_t features)
{
	struct rig_options options = {.worker_count = workers, .threads = true};
	struct rig_guest_options guest = {.features = GUEST_F_VERSION_1 | features};
	struct rig *r = test_calloc(1, sizeof(*r));
	struct actor actors[GUESTS];
	uint64_t sent = 0, received = 0;

	rig_open(r, &options);
	for (unsigned i = 0; i < GUESTS; i++)
		rig_guest_add(r, &guest);
	for (unsigned i = 0; i < GUESTS; i++) {
		actors[i] = (struct actor){.guest = &r->guests[i], .rig = r, .random = i + 1};
		assert_int_equal(pthread_create(&actors[i].thread, NULL, actor_run, &actors[i]), 0);
	}
	disturb(r);
	for (unsigned i = 0; i < GUESTS; i++) {
		atomic_store(&actors[i].stop, true);
		pthread_join(actors[i].thread, NULL);
		sent += actors[i].guest->sent;
		received += actors[i].guest->received;
	}
	print_message("# %u workers: %llu frames sent, %llu received\n", workers,
		      (unsigned long long)sent, (unsigned long long)received);
	assert_true(sent > 100);
	assert_true(received > 100);
	rig_close(r);
	test_free(r);
}

static void test_one_worker(void **state)
{
	(void)state;
	threads_run(1, 0);
}

static void test_two_workers(void **state)
{
	(void)state;
	threads_run(2, GUEST_F_IN_ORDER | GUEST_F_MRG_RXBUF);
}

static void test_three_workers(void **state)
{
	(void)state;
	threads_run(3, GUEST_F_MRG_RXBUF);
}

/* Nothing to do: no worker runs. Four guests with running rings cost < 1 % of a core. */
static void test_idle_costs_nothing(void **state)
{
	struct rig_options options = {.worker_count = 2, .threads = true};
	struct rig_guest_options guest = {.features = GUEST_F_VERSION_1};
	struct rig *r = test_calloc(1, sizeof(*r));
	struct rusage before, after;
	uint64_t used_us;

	(void)state;
	rig_open(r, &options);
	for (unsigned i = 0; i < 4; i++)
		rig_guest_add(r, &guest);
	pause_ns(50 * NS_PER_MS);
	getrusage(RUSAGE_SELF, &before);
	pause_ns(IDLE_NS);
	getrusage(RUSAGE_SELF, &after);
	used_us = (uint64_t)((after.ru_utime.tv_sec - before.ru_utime.tv_sec +
			      after.ru_stime.tv_sec - before.ru_stime.tv_sec) *
				     1000000 +
			     after.ru_utime.tv_usec - before.ru_utime.tv_usec +
			     after.ru_stime.tv_usec - before.ru_stime.tv_usec);
	print_message("# idle: %llu us of CPU in 1 s\n", (unsigned long long)used_us);
	assert_true(used_us * NS_PER_US < IDLE_NS / 100);
	assert_true(counter_get(&engine_worker(r->engine, 0)->counters.sleeps) > 0);
	rig_close(r);
	test_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_worker),
		cmocka_unit_test(test_two_workers),
		cmocka_unit_test(test_three_workers),
		cmocka_unit_test(test_idle_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
