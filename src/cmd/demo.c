/* SPDX-License-Identifier: BSD-2-Clause */
/* "lastref demo": three built-in guests on the real switch, every byte checked. */
#include "cmd/demo.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cmd/cmd.h"
#include "control/value.h"

#define SETUP_LIMIT_NS (10 * NS_PER_S)
#define DRAIN_LIMIT_NS (10 * NS_PER_S)
#define STOP_LIMIT_NS  (10 * NS_PER_S)
#define SLICE_NS       (5 * NS_PER_MS)

struct demo {
	struct demo_switch *sw;
	struct demo_run run;
	char dir[112]; /* a socket's path in it has 108 at most */
	bool json;
	uint64_t traffic_ns; /* all together */
	struct errmsg err;
};

enum {
	OPTION_JSON,
	OPTION_SECONDS,
	OPTION_HELP,
};

const struct cmd_option demo_options[] = {
	[OPTION_JSON] = {"json", 'j', NULL, "results as JSON, no progress"},
	[OPTION_SECONDS] = {"seconds", 0, "N", "how long to send, all together; default 10"},
	[OPTION_HELP] = {"help", 'h', NULL, "this text"},
	{0},
};

static int fail(struct demo *d, const char *text)
{
	errmsg_set(&d->err, "%s", text);
	return -EIO;
}

/* Serve the guests until they follow the phase, at most @limit_ns. */
static int settle(struct demo *d, enum demo_phase phase, uint64_t limit_ns, const char *late)
{
	uint64_t end_ns = clock_now_ns() + limit_ns;

	d->run.phase = (int)phase;
	while (!demo_guests_settled(&d->run)) {
		if (demo_guests_failed(&d->run))
			return fail(d, "a guest gave up");
		if (clock_now_ns() > end_ns)
			return fail(d, late);
		if (demo_switch_serve(d->sw, SLICE_NS))
			return fail(d, "interrupted");
	}
	return 0;
}

/* Sums over all guests, as they tell them while they run. */
static void sum(const struct demo_run *run, struct demo_part *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		ret->frames += run->guests[i].sent;
		ret->bytes += run->guests[i].sent_bytes;
		ret->delivered_bytes += run->guests[i].delivered_bytes;
		for (unsigned k = 0; k < DEMO_GUESTS; k++)
			ret->delivered_frames += run->guests[i].arrived[k];
	}
}

static void subtract(struct demo_part *a, const struct demo_part *b)
{
	a->frames -= b->frames;
	a->bytes -= b->bytes;
	a->delivered_frames -= b->delivered_frames;
	a->delivered_bytes -= b->delivered_bytes;
	a->counts.frames -= b->counts.frames;
	a->counts.drops -= b->counts.drops;
	a->counts.in_place_bytes -= b->counts.in_place_bytes;
	a->counts.copied_bytes -= b->counts.copied_bytes;
	a->counts.held_frames -= b->counts.held_frames;
	a->counts.busy_ns -= b->counts.busy_ns;
}

static void progress(struct demo *d, const char *mode, const char *what, uint64_t ns,
		     const struct demo_part *before)
{
	struct demo_part now;

	if (d->json)
		return;
	sum(&d->run, &now);
	subtract(&now, before);
	printf("%-10s %-8s %4.1f s  %10llu frames delivered  %6.2f Gbit/s\n", mode, what,
	       (double)ns / (double)NS_PER_S, (unsigned long long)now.delivered_frames,
	       (double)now.delivered_bytes * 8 / (double)ns);
	fflush(stdout);
}

/* Let the guests send in @phase for @ns, then wait until everything has arrived. */
static int run_part(struct demo *d, enum demo_phase phase, uint64_t ns, const char *mode,
		    struct demo_part *ret)
{
	const char *what = phase == DEMO_FLOOD ? "flood" : "unicast";
	uint64_t start_ns = clock_now_ns(), next_ns = start_ns + NS_PER_S, now_ns;
	struct demo_part before;
	int error;

	sum(&d->run, &before);
	demo_switch_counts(d->sw, &before.counts);
	d->run.phase = (int)phase;
	while ((now_ns = clock_now_ns()) < start_ns + ns) {
		if (demo_guests_failed(&d->run))
			return fail(d, "a guest gave up");
		if (now_ns >= next_ns) {
			progress(d, mode, what, now_ns - start_ns, &before);
			next_ns += NS_PER_S;
		}
		if (demo_switch_serve(d->sw, min_u64(SLICE_NS, start_ns + ns - now_ns)))
			return fail(d, "interrupted");
	}
	error = settle(d, DEMO_DRAIN, DRAIN_LIMIT_NS, "frames did not arrive or return in time");
	sum(&d->run, ret);
	demo_switch_counts(d->sw, &ret->counts);
	subtract(ret, &before);
	ret->ns = clock_now_ns() - start_ns;
	progress(d, mode, what, ret->ns, &before);
	return error;
}

static int run_traffic(struct demo *d, struct demo_result *r)
{
	uint64_t ns = d->traffic_ns / 2;
	int error;

	error = settle(d, DEMO_SETUP, SETUP_LIMIT_NS, "the guests do not get going");
	if (!error)
		error = settle(d, DEMO_ANNOUNCE, SETUP_LIMIT_NS, "the guests do not send");
	if (!error)
		error = settle(d, DEMO_DRAIN, DRAIN_LIMIT_NS, "the first frames do not arrive");
	if (!error)
		error = run_part(d, DEMO_UNICAST, ns * 7 / 10, r->name, &r->unicast);
	if (!error)
		error = run_part(d, DEMO_FLOOD, ns * 3 / 10, r->name, &r->flood);
	return error;
}

/* Stop the guests while the switch still answers them. */
static int stop_guests(struct demo *d)
{
	uint64_t end_ns = clock_now_ns() + STOP_LIMIT_NS;

	d->run.phase = DEMO_STOP;
	while (!demo_guests_ended(&d->run) && clock_now_ns() < end_ns)
		demo_switch_serve(d->sw, SLICE_NS);
	/* A front-end's own time limits let a thread end even when the switch says nothing. */
	demo_guests_join(&d->run);
	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		if (d->run.guests[i].failed) {
			errmsg_set(&d->err, "guest %u: %.300s", i, d->run.guests[i].guest.err.text);
			return -EIO;
		}
	return 0;
}

static int run_mode(struct demo *d, bool zerocopy, struct demo_result *r)
{
	int error, stop_error;

	r->name = zerocopy ? "in place" : "copying";
	error = demo_switch_add_ports(d->sw, d->dir, zerocopy, &d->err);
	if (!error)
		error = demo_guests_start(&d->run, d->dir, &d->err);
	if (!error)
		error = run_traffic(d, r);
	stop_error = stop_guests(d);
	demo_collect(&d->run, r);
	demo_guests_close(&d->run);
	demo_switch_del_ports(d->sw);
	return error ? error : stop_error;
}

static int make_dir(struct demo *d)
{
	const char *top = getenv("TMPDIR");

	if (!top || strlen(top) > 80)
		top = "/tmp";
	snprintf(d->dir, sizeof(d->dir), "%s/lastref-demo-XXXXXX", top);
	if (!mkdtemp(d->dir)) {
		int error = -errno;

		errmsg_set(&d->err, "%s: %s", d->dir, strerror(-error));
		return error;
	}
	return 0;
}

static int run_demo(struct demo *d)
{
	struct demo_result results[2] = {0};
	bool clean = true;
	int error;

	error = make_dir(d);
	if (error)
		return error;
	error = demo_switch_open(&d->sw, &d->err);
	for (unsigned i = 0; !error && i < ARRAY_SIZE(results); i++) {
		error = run_mode(d, i == 0, &results[i]);
		clean = clean && demo_result_is_clean(&results[i]);
	}
	if (d->sw)
		demo_switch_close(d->sw);
	rmdir(d->dir);
	if (!error || (results[0].sent && results[1].sent)) {
		if (d->json)
			demo_print_json(results, ARRAY_SIZE(results));
		else
			demo_print_table(results, ARRAY_SIZE(results));
	}
	if (!error && !clean)
		error = fail(d, "not every frame arrived once, in order and unchanged");
	return error;
}

static int set_seconds(struct demo *d, const char *text)
{
	struct errmsg err;
	uint64_t ns;

	if (control_parse_seconds(text, &ns, &err))
		return cmd_fail(CMD_USAGE, "demo --seconds: %s", err.text);
	d->traffic_ns = ns;
	return CMD_DONE;
}

/* Return: an exit status, -1 to go on. */
static int parse(struct demo *d, int argc, char **argv)
{
	unsigned option;
	int more;

	while ((more = cmd_next_option(argc, argv, demo_options, &option)) > 0) {
		if (option == OPTION_HELP) {
			cmd_help_demo(stdout);
			return CMD_DONE;
		}
		if (option == OPTION_JSON)
			d->json = true;
		if (option == OPTION_SECONDS && set_seconds(d, optarg))
			return CMD_USAGE;
	}
	if (more < 0)
		return CMD_USAGE;
	if (optind < argc)
		return cmd_fail(CMD_USAGE, "demo: unexpected argument '%s'", argv[optind]);
	return -1;
}

int demo_main(int argc, char **argv)
{
	static struct demo d;
	int status;

	log_set_level(LOG_LEVEL_WARN);
	d.traffic_ns = 10 * NS_PER_S;
	status = parse(&d, argc, argv);
	if (status >= 0)
		return status;
	if (run_demo(&d))
		return cmd_fail(CMD_REFUSED, "demo: %s", d.err.text);
	return CMD_DONE;
}
