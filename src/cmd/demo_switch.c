/* SPDX-License-Identifier: BSD-2-Clause */
/* The demo's switch: the program's own engine, bridge and vm ports, in this process. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/util.h"
#include "cmd/demo.h"
#include "control/opener.h"
#include "engine/engine.h"
#include "port/port.h"
#include "switch/bridge.h"

struct demo_switch {
	struct port_env env;
	struct port *ports[DEMO_GUESTS];
	bool interrupted;
};

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *context)
{
	struct demo_switch *s = context;

	(void)source;
	(void)info;
	s->interrupted = true;
	return 0;
}

static int start_loop(struct demo_switch *s)
{
	sigset_t signals;
	int error;

	/* Blocked before any thread exists, so that they all inherit it. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	error = sd_event_new(&s->env.loop);
	if (error >= 0)
		error = sd_event_add_signal(s->env.loop, NULL, SIGINT, on_signal, s);
	if (error >= 0)
		error = sd_event_add_signal(s->env.loop, NULL, SIGTERM, on_signal, s);
	return error < 0 ? error : 0;
}

int demo_switch_open(struct demo_switch **ret_switch, struct errmsg *err)
{
	struct bridge_config bridge = {
		.ageing_s = 300, .hold_limit_ns = NS_PER_MS, .zerocopy = true};
	struct engine_config engine = {.worker_count = 1, .cpus = {-1}, .threads = true};
	struct demo_switch *s = calloc(1, sizeof(*s));
	int error;

	if (!s) {
		errmsg_set(err, "no memory");
		return -ENOMEM;
	}
	error = start_loop(s);
	if (!error)
		error = opener_start(&s->env.opener);
	if (!error)
		error = bridge_new(&bridge, &s->env.bridge);
	if (!error)
		error = engine_new(&engine, s->env.bridge, &s->env.engine);
	if (!error)
		error = engine_start(s->env.engine);
	if (error) {
		errmsg_set(err, "the switch doesn't start: %s", strerror(-error));
		demo_switch_close(s);
		return error;
	}
	*ret_switch = s;
	return 0;
}

static void set_keys(const struct port_ops *type, const char *path, struct port_config *config)
{
	for (unsigned k = 0; type->keys[k].name; k++)
		config->value[k] =
			strcmp(type->keys[k].name, "socket") == 0 ? path : type->keys[k].fallback;
}

int demo_switch_add_ports(struct demo_switch *s, const char *dir, bool zerocopy, struct errmsg *err)
{
	const struct port_ops *type = port_type_find("vm");
	int error;

	ASSERT(type);
	error = bridge_set(s->env.bridge, "zerocopy", zerocopy ? "on" : "off", err);
	for (unsigned i = 0; !error && i < DEMO_GUESTS; i++) {
		struct port_config config = {0};
		char name[PORT_NAME_BYTES], path[128];

		snprintf(name, sizeof(name), "guest%u", i);
		snprintf(path, sizeof(path), "%s/%u", dir, i);
		set_keys(type, path, &config);
		error = port_new(&s->env, name, type, &config, &s->ports[i], err);
	}
	return error;
}

void demo_switch_del_ports(struct demo_switch *s)
{
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		if (s->ports[i])
			port_free(s->ports[i]);
		s->ports[i] = NULL;
	}
}

void demo_switch_close(struct demo_switch *s)
{
	demo_switch_del_ports(s);
	engine_free(s->env.engine);
	if (s->env.bridge)
		bridge_free(s->env.bridge);
	if (s->env.opener)
		opener_stop(s->env.opener);
	sd_event_unref(s->env.loop);
	free(s);
}

bool demo_switch_serve(struct demo_switch *s, uint64_t timeout_ns)
{
	uint64_t end_ns = clock_now_ns() + timeout_ns, now_ns;
	bool was = s->interrupted;

	/* Back at once when the user interrupts; what must still be served then is. */
	while (s->interrupted == was && (now_ns = clock_now_ns()) < end_ns)
		if (sd_event_run(s->env.loop, (end_ns - now_ns) / NS_PER_US + 1) < 0)
			break;
	return s->interrupted;
}

void demo_switch_counts(const struct demo_switch *s, struct demo_counts *ret_counts)
{
	const struct worker_counters *w = &engine_worker(s->env.engine, 0)->counters;
	struct demo_counts c = {
		.frames = counter_get(&w->frames),
		.copied_bytes = counter_get(&w->payload_copied_bytes),
		.busy_ns = engine_cycles_to_ns(s->env.engine, counter_get(&w->busy_cycles)),
	};

	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		const struct port_counters *p = s->ports[i]->counters;

		c.in_place_bytes += counter_get(&p->in_place_bytes);
		c.held_frames += counter_get(&p->lent_frames);
		for (unsigned k = 0; k < LR_DROP_COUNT; k++)
			c.drops += counter_get(&p->drops[k]);
	}
	*ret_counts = c;
}
