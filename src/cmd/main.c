/* SPDX-License-Identifier: BSD-2-Clause */
/* lastref: a table of subcommands; everything else is a command for a switch that runs. */
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cmd/cmd.h"
#include "control/suggest.h"

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} subcommands[] = {
	{"switch", switch_main},
	{"demo", demo_main},
};

int cmd_fail(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lastref: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return code;
}

#define OPTIONS_MAX 16

static int option_error(const char *typed, const struct cmd_option *options)
{
	struct control_suggestion s;
	char buffer[80];

	control_suggest_init(&s, typed + strspn(typed, "-"));
	for (; options->name; options++) {
		if (options->arg && !strcmp(options->name, s.typed))
			return cmd_fail(-1, "option '%s' needs %s", typed, options->arg);
		control_suggest_offer(&s, options->name);
	}
	return cmd_fail(-1, "unknown option '%.64s'%s", typed, control_suggest_text(&s, buffer));
}

int cmd_next_option(int argc, char **argv, const struct cmd_option *options, unsigned *ret_index)
{
	struct option longs[OPTIONS_MAX + 1] = {0};
	char shorts[2 * OPTIONS_MAX + 2] = "+"; /* options end at the first word */
	unsigned at = 1;
	int c, index = -1;

	for (unsigned i = 0; i < OPTIONS_MAX && options[i].name; i++) {
		longs[i].name = options[i].name;
		longs[i].has_arg = options[i].arg ? required_argument : no_argument;
		if (options[i].letter)
			shorts[at++] = options[i].letter;
		if (options[i].letter && options[i].arg)
			shorts[at++] = ':';
	}
	opterr = 0;
	c = getopt_long(argc, argv, shorts, longs, &index);
	if (c == -1)
		return 0;
	if (c == '?')
		return option_error(argv[optind - 1], options);
	for (unsigned i = 0; index < 0 && options[i].name; i++)
		if (options[i].letter == c)
			index = (int)i;
	*ret_index = (unsigned)index;
	return 1;
}

/* "lastref switch set ..." and "lastref switch show" are for a switch that runs. */
static bool is_for_running_switch(int argc, char **argv)
{
	return argc > 2 && (!strcmp(argv[2], "set") || !strcmp(argv[2], "show"));
}

/* A descriptor below 3 that is closed would be given to a socket, and then written to as a log. */
static void open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	open_standard_fds();
	for (unsigned i = 0; i < ARRAY_SIZE(subcommands) && argc > 1; i++)
		if (!strcmp(argv[1], subcommands[i].name) && !is_for_running_switch(argc, argv))
			return subcommands[i].main(argc - 1, argv + 1);
	return client_main(argc, argv);
}
