/* SPDX-License-Identifier: BSD-2-Clause */
/* "config show": the commands that make a switch like the one that runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/command.h"
#include "control/control.h"
#include "control/lexer.h"

static void append_line(json_t *list, const char *line)
{
	json_array_append_new(list, json_string(line));
}

static void show_settings(const struct bridge *br, json_t *list)
{
	for (const struct bridge_key *k = bridge_keys(); k->name; k++) {
		char value[128], quoted[260], line[400];

		if (bridge_get(br, k->name, value, sizeof(value)))
			continue;
		control_quote(value, quoted, sizeof(quoted));
		snprintf(line, sizeof(line), "switch set %s %s", k->name, quoted);
		append_line(list, line);
	}
}

static void show_ports(const struct bridge *br, json_t *list)
{
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = bridge_port(br, i);
		char words[CONTROL_LINE_BYTES - 64] = "", line[CONTROL_LINE_BYTES];

		if (!p)
			continue;
		p->ops->show_config(p, words, sizeof(words));
		snprintf(line, sizeof(line), "port add %s %s", p->name, words);
		append_line(list, line);
	}
}

/* Static addresses; learnt ones come back by themselves. */
static void show_fdb(const struct bridge *br, json_t *list)
{
	json_t *fdb = bridge_fdb_show(br);

	for (size_t i = 0; i < json_array_size(fdb); i++) {
		const json_t *entry = json_array_get(fdb, i);
		const char *type = json_string_value(json_object_get(entry, "type"));
		char line[128];

		if (!type || strcmp(type, "static") != 0)
			continue;
		snprintf(line, sizeof(line), "fdb add %s port %s",
			 json_string_value(json_object_get(entry, "mac")),
			 json_string_value(json_object_get(entry, "port")));
		append_line(list, line);
	}
	json_decref(fdb);
}

int control_config_show(struct control *c, const struct control_call *call, json_t **ret_result,
			struct errmsg *err)
{
	json_t *list = json_array();

	(void)call;
	(void)err;
	show_settings(c->env.bridge, list);
	show_ports(c->env.bridge, list);
	show_fdb(c->env.bridge, list);
	*ret_result = list;
	return 0;
}
