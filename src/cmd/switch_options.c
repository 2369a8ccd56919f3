/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of "lastref switch". */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/switch.h"
#include "control/value.h"

enum {
	OPTION_CONTROL,
	OPTION_STATE,
	OPTION_WORKERS,
	OPTION_CPUS,
	OPTION_USER,
	OPTION_CONFIG,
	OPTION_HELP,
};

const struct cmd_option switch_options[] = {
	[OPTION_CONTROL] = {"control", 0, "PATH", "where the control socket will be"},
	[OPTION_STATE] = {"state", 0, "DIR", "folder for what must survive a crash"},
	[OPTION_WORKERS] = {"workers", 0, "N", "threads that move frames, 1 to 16; default 1"},
	[OPTION_CPUS] = {"cpus", 0, "LIST", "processor of each worker, such as 1 or 1,3 or 2-5"},
	[OPTION_USER] = {"user", 0, "USER", "run as this user; sockets and taps are opened before"},
	[OPTION_CONFIG] = {"config", 0, "FILE", "commands to begin with, one a line"},
	[OPTION_HELP] = {"help", 'h', NULL, "this text"},
	{0},
};

/* "1,3" or "2-5". Return: how many, -EINVAL with @err set */
static int read_cpus(const char *text, int cpus[ENGINE_WORKERS_MAX], struct errmsg *err)
{
	const char *at = text;
	cpu_set_t allowed;
	int count = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return errmsg_set(err, "--cpus: %s", strerror(errno));
	for (;;) {
		char *end;
		unsigned long first, last;

		if (*at < '0' || *at > '9')
			break;
		last = first = strtoul(at, &end, 10);
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		if (first > last || last >= CPU_SETSIZE)
			break;
		for (unsigned long cpu = first; cpu <= last; cpu++) {
			if (count == ENGINE_WORKERS_MAX)
				return errmsg_set(err,
						  "--cpus %.64s: at most %d workers are possible",
						  text, ENGINE_WORKERS_MAX);
			if (!CPU_ISSET(cpu, &allowed))
				return errmsg_set(err,
						  "--cpus %.64s: processor %lu is not ours to use",
						  text, cpu);
			cpus[count++] = (int)cpu;
		}
		if (!*end)
			return count;
		if (*end != ',')
			break;
		at = end + 1;
	}
	return errmsg_set(err, "--cpus '%.64s': a list such as 1 or 1,3 or 2-5 is expected", text);
}

static int set_workers(struct engine_config *config, const char *workers, const char *cpus,
		       struct errmsg *err)
{
	struct errmsg why;
	uint64_t count = 1;
	int listed;

	for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++)
		config->cpus[i] = -1;
	if (workers && control_parse_number(workers, 1, ENGINE_WORKERS_MAX, &count, &why))
		return errmsg_set(err, "--workers: %.300s", why.text);
	config->worker_count = (unsigned)count;
	config->threads = true;
	if (!cpus)
		return 0;
	listed = read_cpus(cpus, config->cpus, err);
	if (listed < 0)
		return listed;
	if (workers && (unsigned)listed != count)
		return errmsg_set(err, "--cpus %.64s: %d processor(s) for %u workers", cpus, listed,
				  (unsigned)count);
	config->worker_count = (unsigned)listed;
	return 0;
}

static int check_state_dir(const char *path, struct errmsg *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errmsg_set(err, "--state %.200s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return errmsg_set(err, "--state %.200s: a folder is expected", path);
	return 0;
}

/* Values as given; NULL when not. */
struct given {
	const char *control;
	const char *workers;
	const char *cpus;
	const char *user;
};

static int set_control(struct switch_options *o, const char *path, struct errmsg *err)
{
	if (!path)
		return control_default_path(true, o->control, err);
	if (strlen(path) >= sizeof(o->control) || !*path)
		return errmsg_set(err,
				  "--control %.200s: the path has %zu bytes, a socket's 1 to %zu",
				  path, strlen(path), sizeof(o->control) - 1);
	memcpy(o->control, path, strlen(path) + 1);
	return 0;
}

static int check(struct switch_options *o, const struct given *given, int argc, char **argv,
		 struct errmsg *err)
{
	int error = set_workers(&o->engine, given->workers, given->cpus, err);

	if (!error && o->state_dir)
		error = check_state_dir(o->state_dir, err);
	if (!error && given->user) {
		error = privileges_find_user(given->user, &o->user, err);
		o->has_user = true;
	}
	if (!error && control_plan_new(&o->plan))
		error = errmsg_set(err, "no memory");
	if (!error && o->config)
		error = control_plan_file(o->plan, o->config, err);
	for (int i = 0; i < argc && !error; i++)
		error = control_plan_argument(o->plan, (unsigned)i + 1, argv[i], err);
	/* Last: it may make a folder. */
	return error ? error : set_control(o, given->control, err);
}

int switch_options_read(int argc, char **argv, struct switch_options *ret_options)
{
	struct switch_options *o = ret_options;
	struct given given = {0};
	struct errmsg err;
	unsigned option = 0;
	int more;

	memset(o, 0, sizeof(*o));
	while ((more = cmd_next_option(argc, argv, switch_options, &option)) > 0) {
		if (option == OPTION_CONTROL)
			given.control = optarg;
		else if (option == OPTION_STATE)
			o->state_dir = optarg;
		else if (option == OPTION_WORKERS)
			given.workers = optarg;
		else if (option == OPTION_CPUS)
			given.cpus = optarg;
		else if (option == OPTION_USER)
			given.user = optarg;
		else if (option == OPTION_CONFIG)
			o->config = optarg;
		else
			return cmd_help_switch(stdout), 0;
	}
	if (more < 0)
		return CMD_USAGE;
	if (check(o, &given, argc - optind, argv + optind, &err))
		return cmd_fail(CMD_USAGE, "%s", err.text);
	return -1;
}
