/* SPDX-License-Identifier: BSD-2-Clause */
/* "lastref switch": put everything together, run until told to stop, take it apart.
 *
 * Theory of operation
 *
 * In this order: the opener is forked while there is nothing else; options, configuration and
 * arguments are read and checked; rights are given up, before any thread and before a guest's byte
 * is seen (all that needs rights is done by the opener); bridge, workers, ports, control socket.
 * When one step fails, what was made before is taken apart again and nothing is left.
 *
 * The main thread then lives in one event loop: ports' messages, the control socket, a timer of a
 * second for ageing and samples, signals. SIGTERM and SIGINT end it. Taking apart is bounded by an
 * alarm: a peer or a kernel that holds on to something must not keep the switch from ending.
 */
#include "cmd/switch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "control/control.h"
#include "control/opener.h"
#include "control/stats.h"
#include "mem/mem.h"

#define SECOND_US     1000000
#define DRAIN_MS      1900
#define AGEING_S      300
#define HOLD_LIMIT_NS NS_PER_MS

static int on_second(sd_event_source *source, uint64_t us, void *userdata)
{
	struct control *c = userdata;
	uint64_t now_ns = clock_now_ns();

	(void)us;
	bridge_age(c->env.bridge, now_ns);
	control_stats_sample(c->stats, now_ns);
	sd_event_source_set_time_relative(source, SECOND_US);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	(void)userdata;
	log_info("%s: stopping", strsignal((int)info->ssi_signo));
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	(void)source;
	(void)info;
	(void)userdata;
	log_info("SIGHUP: there is nothing to read again; use \"lastref port set\" and the like");
	return 0;
}

static void on_alarm(int number)
{
	static const char text[] = "lastref: error: not everything could be taken apart in time\n";

	(void)number;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(1);
}

/* From now on the end comes within DRAIN_MS. */
static void bound_the_end(void)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerval timer = {.it_value.tv_usec = DRAIN_MS % 1000 * 1000,
					.it_value.tv_sec = DRAIN_MS / 1000};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void set_signals(void)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

/* A port needs some fds for each of its rings. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int add_events(struct control *c)
{
	sd_event *loop = c->env.loop;
	int error = sd_event_add_signal(loop, NULL, SIGTERM, on_stop, NULL);

	if (error >= 0)
		error = sd_event_add_signal(loop, NULL, SIGINT, on_stop, NULL);
	if (error >= 0)
		error = sd_event_add_signal(loop, NULL, SIGHUP, on_hangup, NULL);
	if (error >= 0)
		error = sd_event_add_time_relative(loop, NULL, CLOCK_MONOTONIC, SECOND_US, 0,
						   on_second, c);
	return error < 0 ? error : 0;
}

/* Bridge, workers, loop: all that exists before the first port. */
static int make_core(struct control *c, struct errmsg *err)
{
	static const struct bridge_config config = {
		.ageing_s = AGEING_S,
		.hold_limit_ns = HOLD_LIMIT_NS,
		.zerocopy = true,
	};
	int error = mem_init();

	if (!error)
		error = sd_event_default(&c->env.loop);
	if (error >= 0)
		error = bridge_new(&config, &c->env.bridge);
	if (!error)
		error = engine_new(&c->config, c->env.bridge, &c->env.engine);
	if (!error)
		error = engine_start(c->env.engine);
	if (!error)
		error = control_stats_new(c->env.engine, &c->stats);
	if (!error)
		error = add_events(c);
	if (error)
		errmsg_set(err, "cannot start: %s", strerror(-error));
	return error;
}

static void take_apart(struct control *c)
{
	control_server_free(c->server);
	if (c->stats)
		control_remove_ports(c);
	control_stats_free(c->stats);
	engine_free(c->env.engine);
	bridge_free(c->env.bridge);
	sd_event_unref(c->env.loop);
}

static void say_ready(const struct switch_options *o)
{
	puts("ready");
	fflush(stdout); /* nobody need listen */
	log_info("ready: %u worker(s), control socket %s", o->engine.worker_count, o->control);
	sd_notifyf(0, "READY=1\nSTATUS=control socket %s", o->control);
}

/* Return: exit code */
static int run(struct control *c, const struct switch_options *o)
{
	struct errmsg err;
	int error = privileges_drop(o->has_user ? &o->user : NULL, &err);

	if (!error)
		error = make_core(c, &err);
	if (!error)
		error = control_plan_run(o->plan, c, &err);
	if (!error)
		error = control_server_new(c, o->control, &c->server, &err);
	if (error) {
		bound_the_end();
		take_apart(c);
		return cmd_fail(CMD_USAGE, "%s", err.text);
	}
	say_ready(o);
	error = sd_event_loop(c->env.loop);
	sd_notify(0, "STOPPING=1");
	bound_the_end();
	take_apart(c);
	return error < 0 ? cmd_fail(1, "the event loop: %s", strerror(-error)) : 0;
}

int switch_main(int argc, char **argv)
{
	struct switch_options o;
	struct control c = {.started_ns = clock_now_ns(), .owner = geteuid()};
	int error, code;

	error = opener_start(&c.env.opener);
	if (error)
		return cmd_fail(1, "cannot start the opener process: %s", strerror(-error));
	code = switch_options_read(argc, argv, &o);
	if (code < 0) {
		set_signals();
		raise_fd_limit();
		c.env.state_dir = o.state_dir;
		c.config = o.engine;
		code = run(&c, &o);
	}
	control_plan_free(o.plan);
	opener_stop(c.env.opener);
	return code;
}
