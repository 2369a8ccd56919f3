/* SPDX-License-Identifier: BSD-2-Clause */
/* "fdb ...", "stats reset", "worker show", "switch set", "switch show". */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/command.h"
#include "control/control.h"
#include "control/stats.h"

static struct port *find(struct control *c, const char *name, struct errmsg *err)
{
	struct port *p = bridge_port_find(c->env.bridge, name);

	if (!p)
		errmsg_set(err, "there is no port '%s'", name);
	return p;
}

int control_fdb_show(struct control *c, const struct control_call *call, json_t **ret_result,
		     struct errmsg *err)
{
	(void)call;
	(void)err;
	*ret_result = bridge_fdb_show(c->env.bridge);
	return 0;
}

int control_fdb_add(struct control *c, const struct control_call *call, json_t **ret_result,
		    struct errmsg *err)
{
	struct port *p = find(c, call->name, err);

	(void)ret_result;
	return p ? bridge_fdb_add(c->env.bridge, call->mac, p, err) : -ENOENT;
}

int control_fdb_del(struct control *c, const struct control_call *call, json_t **ret_result,
		    struct errmsg *err)
{
	(void)ret_result;
	return bridge_fdb_del(c->env.bridge, call->mac, err);
}

int control_fdb_flush(struct control *c, const struct control_call *call, json_t **ret_result,
		      struct errmsg *err)
{
	struct port *p = NULL;

	(void)ret_result;
	if (call->name) {
		p = find(c, call->name, err);
		if (!p)
			return -ENOENT;
	}
	bridge_fdb_flush(c->env.bridge, p);
	return 0;
}

int control_stats_reset_all(struct control *c, const struct control_call *call, json_t **ret_result,
			    struct errmsg *err)
{
	(void)call;
	(void)ret_result;
	(void)err;
	control_stats_reset(c->stats);
	return 0;
}

int control_worker_show(struct control *c, const struct control_call *call, json_t **ret_result,
			struct errmsg *err)
{
	json_t *list = json_array();

	(void)call;
	(void)err;
	for (unsigned i = 0; i < engine_worker_count(c->env.engine); i++)
		json_array_append_new(list, control_stats_worker(c->stats, i, c->config.cpus[i]));
	*ret_result = list;
	return 0;
}

int control_switch_set(struct control *c, const struct control_call *call, json_t **ret_result,
		       struct errmsg *err)
{
	struct errmsg why;
	int error = bridge_set(c->env.bridge, call->key, call->value, &why);

	(void)ret_result;
	if (error)
		errmsg_set(err, "switch: %.350s", why.text);
	return error;
}

int control_switch_show(struct control *c, const struct control_call *call, json_t **ret_result,
			struct errmsg *err)
{
	json_t *o = bridge_show(c->env.bridge);

	(void)call;
	(void)err;
	json_object_set_new(o, "version", json_string(LASTREF_VERSION));
	json_object_set_new(o, "pid", json_integer(getpid()));
	json_object_set_new(
		o, "uptime_s",
		json_integer((json_int_t)((clock_now_ns() - c->started_ns) / NS_PER_S)));
	json_object_set_new(o, "workers", json_integer(engine_worker_count(c->env.engine)));
	*ret_result = o;
	return 0;
}
