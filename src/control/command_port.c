/* SPDX-License-Identifier: BSD-2-Clause */
/* "port add", "port set", "port del", "port show", "wait". */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "control/command.h"
#include "control/control.h"
#include "control/stats.h"

/* The port that a command names. Return: NULL with @err set */
static struct port *find(struct control *c, const char *name, struct errmsg *err)
{
	struct port *p = bridge_port_find(c->env.bridge, name);

	if (!p)
		errmsg_set(err, "there is no port '%s'", name);
	return p;
}

/* The port's own words, behind its name. */
static int port_error(const char *name, int error, const struct errmsg *why, struct errmsg *err)
{
	if (!strncmp(why->text, "port ", 5))
		*err = *why;
	else
		errmsg_set(err, "port %s: %.350s", name, why->text);
	return error;
}

int control_port_add(struct control *c, const struct control_call *call, json_t **ret_result,
		     struct errmsg *err)
{
	struct errmsg why = {""};
	struct port *p;
	int error;

	(void)ret_result;
	if (bridge_port_find(c->env.bridge, call->name)) {
		errmsg_set(err, "port '%s' exists", call->name);
		return -EEXIST;
	}
	error = port_new(&c->env, call->name, call->type, &call->config, &p, &why);
	if (error)
		return port_error(call->name, error, &why, err);
	error = control_stats_add(c->stats, p);
	if (error) {
		port_free(p);
		errmsg_set(err, "port %s: no memory", call->name);
		return error;
	}
	log_info("port %s: added, type %s", call->name, call->type->type);
	return 0;
}

int control_port_set(struct control *c, const struct control_call *call, json_t **ret_result,
		     struct errmsg *err)
{
	struct port *p = find(c, call->name, err);
	struct errmsg why = {""};
	unsigned key;
	int error;

	(void)ret_result;
	if (!p)
		return -ENOENT;
	error = control_check_set(p->ops, call->key, call->value, &key, &why);
	if (!error)
		error = p->ops->set(p, key, call->value, &why);
	return error ? port_error(call->name, error, &why, err) : 0;
}

int control_port_del(struct control *c, const struct control_call *call, json_t **ret_result,
		     struct errmsg *err)
{
	struct port *p = find(c, call->name, err);

	(void)ret_result;
	if (!p)
		return -ENOENT;
	control_stats_remove(c->stats, p);
	port_free(p);
	log_info("port %s: removed", call->name);
	return 0;
}

static json_t *show_port(const struct control *c, struct port *p)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(p->name));
	json_object_set_new(o, "type", json_string(p->ops->type));
	json_object_set_new(o, "state",
			    json_string(port_state_name((enum port_state)atomic_load(&p->state))));
	json_object_set_new(o, "why", json_string(p->why));
	json_object_set_new(o, "mtu", json_integer(atomic_load(&p->mtu)));
	json_object_set_new(o, "fdb_learnt", json_integer(bridge_fdb_count(c->env.bridge, p)));
	if (p->ops->show)
		p->ops->show(p, o);
	control_stats_port(c->stats, p, o);
	return o;
}

int control_port_show(struct control *c, const struct control_call *call, json_t **ret_result,
		      struct errmsg *err)
{
	json_t *list;

	if (call->name && !find(c, call->name, err))
		return -ENOENT;
	list = json_array();
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = bridge_port(c->env.bridge, i);

		if (p && (!call->name || !strcmp(p->name, call->name)))
			json_array_append_new(list, show_port(c, p));
	}
	*ret_result = list;
	return 0;
}

int control_stats_show(struct control *c, const struct control_call *call, json_t **ret_result,
		       struct errmsg *err)
{
	json_t *list;

	if (call->name && !find(c, call->name, err))
		return -ENOENT;
	list = json_array();
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = bridge_port(c->env.bridge, i);
		json_t *o;

		if (!p || (call->name && strcmp(p->name, call->name) != 0))
			continue;
		o = json_pack("{s:s}", "name", p->name);
		control_stats_port(c->stats, p, o);
		json_array_append_new(list, o);
	}
	*ret_result = list;
	return 0;
}

int control_wait_state(struct control *c, const struct control_call *call, json_t **ret_result,
		       struct errmsg *err)
{
	struct port *p = find(c, call->name, err);
	enum port_state state;

	(void)ret_result;
	if (!p)
		return -ENOENT;
	state = (enum port_state)atomic_load(&p->state);
	if (state == call->state)
		return 0;
	errmsg_set(err, "port %s is %s%s%s%s, not %s", p->name, port_state_name(state),
		   p->why[0] ? " (" : "", p->why, p->why[0] ? ")" : "",
		   port_state_name(call->state));
	return -EAGAIN;
}
