/* SPDX-License-Identifier: BSD-2-Clause */
/* What each port type needs around it to be made in a test. */
#include "ports_world.h"

#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/assert.h"
#include "control/opener.h"

/* By the order of the type's keys: the first is the one that is required. */
static const struct port_config vm_config = {.value = {"/tmp/lastref-test-ports.sock"}};
static const struct port_config tap_config = {.value = {"lrtestports0"}};

static const char *missing_for_tap(void)
{
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK))
		return "root and /dev/net/tun";
	return NULL;
}

static const struct ports_world_line lines[] = {
	{.type = "null"},
	{.type = "vm", .config = &vm_config},
	{.type = "tap", .config = &tap_config, .missing = missing_for_tap},
};

const struct ports_world_line *ports_world_find(const char *type)
{
	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		if (strcmp(lines[i].type, type) == 0)
			return &lines[i];
	return NULL;
}

void ports_world_enter(struct port_env *env)
{
	ASSERT(sd_event_new(&env->loop) >= 0);
	ASSERT(opener_start(&env->opener) == 0);
}

void ports_world_leave(struct port_env *env)
{
	opener_stop(env->opener);
	sd_event_unref(env->loop);
	env->opener = NULL;
	env->loop = NULL;
}
