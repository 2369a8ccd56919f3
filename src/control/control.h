/* SPDX-License-Identifier: BSD-2-Clause */
/* The switch as its operator sees it: what commands act on. Main thread. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <stdint.h>
#include <sys/types.h>

#include "engine/engine.h"
#include "port/port.h"
#include "switch/bridge.h"

struct control_server;
struct control_stats;

/**
 * struct control - One running switch
 * @env:        what ports are made with
 * @config:     how the engine was started
 * @started_ns: for the uptime
 * @owner:      who started it
 */
struct control {
	struct port_env env;
	struct engine_config config;
	uint64_t started_ns;
	uid_t owner;
	struct control_stats *stats;
	struct control_server *server;
};

/**
 * control_remove_ports() - Free every port, in reverse order of their index
 */
void control_remove_ports(struct control *c);

#endif
