/* SPDX-License-Identifier: BSD-2-Clause */
/* What a switch is to be started with.
 *
 * Theory of operation
 *
 * Lines are kept as text, with where they stood, and parsed again when they are done: a parsed call
 * is large, a configuration can have thousands of lines. Beside the lines stand the ports that they
 * make, so that a name that is used twice, or before it is there, is found before anything exists.
 */
#include "control/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "switch/bridge.h"

#define FILE_BYTES_MAX (4u << 20)

/* @file is NULL for an argument. */
struct origin {
	const char *file;
	unsigned number;
};

struct line {
	struct origin origin;
	char *text;
};

struct planned_port {
	char name[PORT_NAME_BYTES];
	const struct port_ops *type;
	struct origin origin;
};

/* An address that a line fixes to a port. */
struct planned_mac {
	uint8_t mac[6];
	struct origin origin;
};

struct control_plan {
	unsigned line_count;
	unsigned line_room;
	struct line *lines;
	unsigned port_count;
	struct planned_port ports[PORTS_MAX];
	unsigned mac_count;
	struct planned_mac macs[BRIDGE_FDB_ENTRIES];
	char *file; /* name of the one file */
};

int control_plan_new(struct control_plan **ret_plan)
{
	struct control_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	*ret_plan = plan;
	return 0;
}

void control_plan_free(struct control_plan *plan)
{
	if (!plan)
		return;
	for (unsigned i = 0; i < plan->line_count; i++)
		free(plan->lines[i].text);
	free(plan->lines);
	free(plan->file);
	free(plan);
}

unsigned control_plan_count(const struct control_plan *plan)
{
	return plan->line_count;
}

/* Put where it stood in front of what was wrong. */
static int at_origin(const struct origin *o, int error, struct errmsg *err)
{
	struct errmsg why = *err;

	if (o->file)
		errmsg_set(err, "%.100s:%u: %.280s", o->file, o->number, why.text);
	else
		errmsg_set(err, "argument %u: %.360s", o->number, why.text);
	return error;
}

static struct planned_port *find_port(struct control_plan *plan, const char *name)
{
	for (unsigned i = 0; i < plan->port_count; i++)
		if (!strcmp(plan->ports[i].name, name))
			return &plan->ports[i];
	return NULL;
}

/* Return: 0, -EEXIST, -ENOSPC */
static int plan_port(struct control_plan *plan, const struct control_call *call,
		     const struct origin *o, struct errmsg *err)
{
	struct planned_port *p = find_port(plan, call->name);

	if (p) {
		errmsg_set(err, "port '%s' exists since %s %u", call->name,
			   p->origin.file ? "line" : "argument", p->origin.number);
		return -EEXIST;
	}
	if (plan->port_count == PORTS_MAX) {
		errmsg_set(err, "a switch has at most %d ports", PORTS_MAX);
		return -ENOSPC;
	}
	p = &plan->ports[plan->port_count++];
	memcpy(p->name, call->name, strlen(call->name) + 1);
	p->type = call->type;
	p->origin = *o;
	return 0;
}

/* Return: 0, -EEXIST, -ENOSPC */
static int plan_mac(struct control_plan *plan, const struct control_call *call,
		    const struct origin *o, struct errmsg *err)
{
	struct planned_mac *m;

	for (unsigned i = 0; i < plan->mac_count; i++) {
		m = &plan->macs[i];
		if (memcmp(m->mac, call->mac, sizeof(m->mac)) == 0) {
			errmsg_set(err, "this address stands in %s %u already",
				   m->origin.file ? "line" : "argument", m->origin.number);
			return -EEXIST;
		}
	}
	if (plan->mac_count == BRIDGE_FDB_ENTRIES) {
		errmsg_set(err, "a switch has at most %d addresses", BRIDGE_FDB_ENTRIES);
		return -ENOSPC;
	}
	m = &plan->macs[plan->mac_count++];
	memcpy(m->mac, call->mac, sizeof(m->mac));
	m->origin = *o;
	return 0;
}

/* What a command needs of those before it. */
static int check_order(struct control_plan *plan, const struct control_call *call,
		       const struct origin *o, struct errmsg *err)
{
	const struct planned_port *p;
	struct errmsg why;
	unsigned key;

	if (!(call->command->flags & CONTROL_SETUP))
		return errmsg_set(err, "'%s' is for a switch that runs, not for setting one up",
				  call->command->words);
	if (call->type)
		return plan_port(plan, call, o, err);
	if (!call->name)
		return 0;
	p = find_port(plan, call->name);
	if (!p) {
		errmsg_set(err, "there is no port '%s' up to here", call->name);
		return -ENOENT;
	}
	if (call->has_mac)
		return plan_mac(plan, call, o, err);
	if (call->key && control_check_set(p->type, call->key, call->value, &key, &why))
		return errmsg_set(err, "port %s: %.300s", call->name, why.text);
	return 0;
}

static int keep(struct control_plan *plan, const char *text, const struct origin *o)
{
	struct line *line;

	if (plan->line_count == plan->line_room) {
		unsigned room = plan->line_room ? 2 * plan->line_room : 16;
		struct line *lines = reallocarray(plan->lines, room, sizeof(*lines));

		if (!lines)
			return -ENOMEM;
		plan->lines = lines;
		plan->line_room = room;
	}
	line = &plan->lines[plan->line_count];
	line->origin = *o;
	line->text = strdup(text);
	if (!line->text)
		return -ENOMEM;
	plan->line_count++;
	return 0;
}

static int parse(const char *text, struct control_call *call, struct errmsg *err)
{
	struct control_words words;
	int error = control_lex(text, &words, err);

	if (error)
		return error;
	if (words.count == 0)
		return 1;
	return control_parse(&words, call, err);
}

static int add(struct control_plan *plan, const char *text, const struct origin *o,
	       struct errmsg *err)
{
	struct control_call call;
	int error = parse(text, &call, err);

	if (error > 0)
		return 0; /* a comment, or nothing at all */
	if (!error)
		error = check_order(plan, &call, o, err);
	if (error)
		return at_origin(o, error, err);
	error = keep(plan, text, o);
	if (error)
		errmsg_set(err, "no memory for the configuration");
	return error;
}

int control_plan_argument(struct control_plan *plan, unsigned number, const char *text,
			  struct errmsg *err)
{
	struct origin o = {.number = number};

	return add(plan, text, &o, err);
}

/* Lines of @text, which is taken apart. */
static int add_lines(struct control_plan *plan, char *text, size_t bytes, struct errmsg *err)
{
	struct origin o = {.file = plan->file};
	char *end = text + bytes;
	int error = 0;

	for (char *at = text; at < end && !error;) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		char *stop = newline ? newline : end;

		o.number++;
		if (memchr(at, 0, (size_t)(stop - at)))
			return at_origin(&o, errmsg_set(err, "a NUL byte; is this text?"), err);
		*stop = 0; /* @text has one byte behind @end */
		if (stop > at && stop[-1] == '\r')
			stop[-1] = 0;
		error = add(plan, at, &o, err);
		at = stop + 1;
	}
	return error;
}

/* The whole file. Return: 0 with @ret_text, NUL behind it; the caller's */
static int read_file(const char *path, char **ret_text, size_t *ret_bytes, struct errmsg *err)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t bytes = 0;
	int error = 0;

	if (!f) {
		error = -errno;
		errmsg_set(err, "%.200s: %s", path, strerror(errno));
		return error;
	}
	text = malloc(FILE_BYTES_MAX + 1);
	if (!text) {
		errmsg_set(err, "%.200s: no memory", path);
		error = -ENOMEM;
		goto close;
	}
	bytes = fread(text, 1, FILE_BYTES_MAX + 1, f);
	if (ferror(f)) {
		error = -EIO;
		errmsg_set(err, "%.200s: cannot read it; is it a file?", path);
	} else if (bytes > FILE_BYTES_MAX) {
		error = -EFBIG;
		errmsg_set(err, "%.200s: larger than %u bytes", path, FILE_BYTES_MAX);
	}
close:
	if (fclose(f) && !error) {
		error = -EIO;
		errmsg_set(err, "%.200s: cannot read it", path);
	}
	if (error) {
		free(text);
		return error;
	}
	text[bytes] = 0;
	*ret_text = text;
	*ret_bytes = bytes;
	return 0;
}

int control_plan_file(struct control_plan *plan, const char *path, struct errmsg *err)
{
	size_t bytes = 0;
	char *text = NULL;
	int error = read_file(path, &text, &bytes, err);

	if (error)
		return error;
	free(plan->file);
	plan->file = strdup(path);
	if (plan->file) {
		error = add_lines(plan, text, bytes, err);
	} else {
		errmsg_set(err, "%.200s: no memory", path);
		error = -ENOMEM;
	}
	free(text);
	return error;
}

int control_plan_run(const struct control_plan *plan, struct control *c, struct errmsg *err)
{
	for (unsigned i = 0; i < plan->line_count; i++) {
		const struct line *line = &plan->lines[i];
		struct control_call call;
		json_t *result = NULL;
		int error = parse(line->text, &call, err);

		if (!error)
			error = control_run(c, &call, &result, err);
		json_decref(result);
		if (error)
			return at_origin(&line->origin, error, err);
	}
	return 0;
}
