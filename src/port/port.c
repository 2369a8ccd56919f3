/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of port types, and the life of a port. Main thread. */
#include "port/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "engine/engine.h"
#include "port/types.h"
#include "switch/bridge.h"

static const struct port_ops *const types[] = {
	&port_vm_ops,
	&port_null_ops,
	&port_tap_ops,
};

const struct port_ops *port_type_at(unsigned index)
{
	return index < ARRAY_SIZE(types) ? types[index] : NULL;
}

const struct port_ops *port_type_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i]->type, name) == 0)
			return types[i];
	return NULL;
}

static const char *const state_names[] = {
	[PORT_WAITING] = "waiting",
	[PORT_CONNECTED] = "connected",
	[PORT_RUNNING] = "running",
	[PORT_BROKEN] = "broken",
};

static_assert(ARRAY_SIZE(state_names) == PORT_STATE_COUNT, "every state has a name");

const char *port_state_name(enum port_state state)
{
	ASSERT(state < PORT_STATE_COUNT);
	return state_names[state];
}

static const char *const copy_reason_names[] = {
#define X(id, name, text) name,
	PORT_COPY_REASONS(X)
#undef X
};

static_assert(ARRAY_SIZE(copy_reason_names) == PORT_COPY_COUNT, "every reason has a name");

const char *port_copy_reason_name(enum port_copy_reason reason)
{
	ASSERT(reason < PORT_COPY_COUNT);
	return copy_reason_names[reason];
}

static void port_release(struct port *p)
{
	free(p->counters);
	free(p);
}

int port_new(const struct port_env *env, const char *name, const struct port_ops *type,
	     const struct port_config *config, struct port **ret_port, struct errmsg *err)
{
	size_t counters_bytes = engine_worker_count(env->engine) * sizeof(struct port_counters);
	struct port *p = calloc(1, sizeof(*p));
	int error = -ENOMEM;

	if (!p)
		goto no_memory;
	p->counters = aligned_alloc(CACHE_LINE_BYTES, counters_bytes);
	if (!p->counters)
		goto no_memory;
	memset(p->counters, 0, counters_bytes);
	ASSERT(strlen(name) < sizeof(p->name));
	memcpy(p->name, name, strlen(name) + 1);
	p->ops = type;
	p->env = env;
	/* First its place in the bridge: create() may let frames in, and they are learnt by it. */
	error = bridge_port_add(env->bridge, p, err);
	if (error)
		goto fail;
	error = type->create(p, config, err);
	if (error) {
		bridge_port_remove(env->bridge, p);
		engine_quiesce(env->engine);
		goto fail;
	}
	*ret_port = p;
	return 0;

no_memory:
	errmsg_set(err, "port %s: no memory", name);
fail:
	if (p)
		port_release(p);
	return error;
}

void port_free(struct port *p)
{
	bridge_port_remove(p->env->bridge, p);
	engine_quiesce(p->env->engine);
	p->ops->destroy(p);
	port_release(p);
}
