/* SPDX-License-Identifier: BSD-2-Clause */
/* What each port type needs around it to be made in a test. */
#ifndef PORTS_WORLD_H
#define PORTS_WORLD_H

#include "port/port.h"

/**
 * struct ports_world_line - One type
 * @config:  values by index into its keys; NULL: fallbacks
 * @missing: what this machine lacks for it, NULL: nothing; may be NULL
 */
struct ports_world_line {
	const char *type;
	const struct port_config *config;
	const char *(*missing)(void);
};

/* The line of a type, or NULL. */
const struct ports_world_line *ports_world_find(const char *type);

/* An event loop and an opener for @env; and none again. */
void ports_world_enter(struct port_env *env);
void ports_world_leave(struct port_env *env);

#endif
