/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands: one table that is the grammar, the help and the way to their handlers.
 *
 * A line of arguments, of a configuration file and of the control socket goes the same way: words
 * (lexer.h), then a checked call (control_parse()), then its handler (control_run()).
 */
#ifndef CONTROL_GRAMMAR_H
#define CONTROL_GRAMMAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/errmsg.h"
#include "control/lexer.h"
#include "port/port.h"

struct control;
struct control_call;

#define CONTROL_SETUP (1u << 0) /* may stand in a configuration and behind "lastref switch" */
#define CONTROL_LOCAL (1u << 1) /* done by the client itself, needs no switch */
#define CONTROL_WAITS (1u << 2) /* handler says -EAGAIN until done: asked again, for a time */

/**
 * struct control_command - One row
 * @words: what the command is called: "port add"
 * @args:  what follows: words in capitals stand for a kind of value (grammar.c: kinds[]), others
 *         for themselves; what is in brackets may be left out, with all that follows
 * @help:  one line
 * @check: what the table cannot say, without a running switch; may be NULL
 * @run:   do it. 0 with @ret_result (a new reference; NULL: nothing to tell), or negative errno
 *         with @err set and nothing changed; NULL for CONTROL_LOCAL
 */
struct control_command {
	const char *words;
	const char *args;
	unsigned flags;
	const char *help;
	int (*check)(const struct control_call *call, struct errmsg *err);
	int (*run)(struct control *c, const struct control_call *call, json_t **ret_result,
		   struct errmsg *err);
};

/**
 * struct control_call - A command with its checked arguments; those not given are NULL or 0
 */
struct control_call {
	const struct control_command *command;
	const char *name;  /* NAME */
	const char *file;  /* FILE */
	const char *key;   /* KEY */
	const char *value; /* VALUE */
	uint8_t mac[6];	   /* MAC */
	bool has_mac;
	enum port_state state;
	uint64_t timeout_ns;
	const struct port_ops *type; /* TYPE */
	struct port_config config;   /* [KEY VALUE]... of @type */
	struct control_words words;
};

/* The table, ended by a row whose words are NULL. */
extern const struct control_command control_commands[];

/**
 * control_parse() - Check @words against the table
 *
 * The call points into @ret_call->words, a copy.
 *
 * Return: 0, -EINVAL with @err set
 */
int control_parse(const struct control_words *words, struct control_call *ret_call,
		  struct errmsg *err);

/**
 * control_run() - Do it; main thread of the switch
 *
 * Return: as control_command.run
 */
int control_run(struct control *c, const struct control_call *call, json_t **ret_result,
		struct errmsg *err);

/**
 * control_check_set() - Whether @key of a port of @type may be set to @value at run time
 *
 * Return: 0 with the key's index, -EINVAL with @err set
 */
int control_check_set(const struct port_ops *type, const char *key, const char *value,
		      unsigned *ret_key, struct errmsg *err);

/**
 * control_usage() - "port add NAME TYPE [KEY VALUE]..."
 */
const char *control_usage(const struct control_command *command, char *buffer, size_t buffer_bytes);

#endif
