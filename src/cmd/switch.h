/* SPDX-License-Identifier: BSD-2-Clause */
/* "lastref switch": what its options say. */
#ifndef CMD_SWITCH_H
#define CMD_SWITCH_H

#include <stdbool.h>

#include "cmd/privileges.h"
#include "control/plan.h"
#include "control/socket.h"
#include "engine/engine.h"

/**
 * struct switch_options - Read and checked
 * @plan: configuration, then arguments; the caller's to free, also on failure
 */
struct switch_options {
	char control[CONTROL_PATH_BYTES];
	const char *state_dir;
	const char *config;
	bool has_user;
	struct privileges_user user;
	struct engine_config engine;
	struct control_plan *plan;
};

/**
 * switch_options_read() - Everything that was asked for, before anything is made
 *
 * Return: -1 to go on, else the exit code, with what was wrong (or help) printed
 */
int switch_options_read(int argc, char **argv, struct switch_options *ret_options);

#endif
