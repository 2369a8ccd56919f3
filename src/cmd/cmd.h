/* SPDX-License-Identifier: BSD-2-Clause */
/* The program's subcommands, and what they share. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <jansson.h>
#include <stdio.h>

#include "control/grammar.h"

/* Exit codes of "lastref COMMAND". */
#define CMD_DONE      0
#define CMD_REFUSED   1
#define CMD_USAGE     2
#define CMD_NO_SWITCH 3

int switch_main(int argc, char **argv);
int demo_main(int argc, char **argv);
int client_main(int argc, char **argv);

/**
 * struct cmd_option - A long option: its row of help, and of the table that getopt wants
 * @letter: short form, 0 for none
 * @arg:    what it takes, NULL for nothing
 */
struct cmd_option {
	const char *name;
	char letter;
	const char *arg;
	const char *help;
};

extern const struct cmd_option switch_options[]; /* ended by a NULL name */
extern const struct cmd_option client_options[];
extern const struct cmd_option demo_options[];

/**
 * cmd_next_option() - The next option of the line that @argv is, as getopt_long() walks it
 * @ret_index: its row in @options
 *
 * Return: 1 with @ret_index (and optarg); 0 when there are no more; -1 when it is wrong, said so
 */
int cmd_next_option(int argc, char **argv, const struct cmd_option *options, unsigned *ret_index);

/**
 * cmd_fail() - "lastref: text" on stderr
 *
 * Return: @code, so that a caller can say "return cmd_fail(...)"
 */
int cmd_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* help.c: everything, one subcommand, or the commands that begin with these words. */
void cmd_help(FILE *to);
void cmd_help_switch(FILE *to);
void cmd_help_demo(FILE *to);
int cmd_help_command(const struct control_words *words);

/**
 * cmd_render() - The answer to @call as text for people
 */
void cmd_render(const struct control_call *call, const json_t *result);

#endif
