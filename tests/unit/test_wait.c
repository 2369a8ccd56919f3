/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker on its way to sleep misses nothing, however late it is told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "rig.h"

/* A source whose work arrives after it was asked whether there is any, and before the worker says
 * that it sleeps: there is no narrower place. */
struct late {
	struct source source;
	struct engine *engine;
	_Atomic bool work;
	_Atomic unsigned given; /* times that work came late */
	_Atomic unsigned done;
};

#define LATE_TIMES 20

static unsigned late_recv(struct source *s, struct worker *w)
{
	struct late *l = container_of(s, struct late, source);

	(void)w;
	if (!atomic_exchange(&l->work, false))
		return 0;
	atomic_fetch_add(&l->done, 1);
	return 1;
}

static void late_publish(struct source *s, struct worker *w)
{
	(void)s;
	(void)w;
}

static bool late_arm(struct source *s)
{
	struct late *l = container_of(s, struct late, source);
	bool work = atomic_load(&l->work);

	if (!work && atomic_load(&l->given) < LATE_TIMES) {
		atomic_fetch_add(&l->given, 1);
		atomic_store(&l->work, true);
		engine_kick(l->engine, 0); /* as another thread would at this moment */
	}
	return work;
}

static void late_disarm(struct source *s)
{
	(void)s;
}

static const struct source_ops late_ops = {
	.recv = late_recv,
	.publish = late_publish,
	.arm = late_arm,
	.disarm = late_disarm,
};

static void kick_between_last_look_and_sleep(void **state)
{
	const struct timespec pause = {.tv_nsec = NS_PER_MS};
	struct rig_options options = {.worker_count = 1, .threads = true};
	struct rig *r = test_calloc(1, sizeof(*r));
	struct late late = {.source = {.ops = &late_ops, .fds = {-1, -1}}};

	(void)state;
	rig_open(r, &options);
	late.source.port = rig_port_add(r, "n", port_type_find("null"), NULL);
	late.engine = r->engine;
	engine_attach(r->engine, &late.source);
	for (unsigned tries = 0; tries < 5000 && atomic_load(&late.done) < LATE_TIMES; tries++)
		nanosleep(&pause, NULL);
	assert_int_equal(late.done, LATE_TIMES);
	engine_detach(r->engine, &late.source);
	rig_close(r);
	test_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kick_between_last_look_and_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
