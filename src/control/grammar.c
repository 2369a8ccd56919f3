/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of commands, and the one parser that walks it. */
#include "control/grammar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "control/command.h"
#include "control/suggest.h"
#include "control/value.h"
#include "switch/bridge.h"

#define WAIT_DEFAULT_NS (10 * NS_PER_S)

static int check_switch_key(const struct control_call *call, struct errmsg *err);

const struct control_command control_commands[] = {
	{"port add", "NAME TYPE [KEY VALUE]...", CONTROL_SETUP, "add a port", NULL,
	 control_port_add},
	{"port set", "NAME KEY VALUE", CONTROL_SETUP, "change a port", NULL, control_port_set},
	{"port del", "NAME", 0, "remove a port", NULL, control_port_del},
	{"port show", "[NAME]", 0, "ports: state, counters, peer, rings", NULL, control_port_show},
	{"fdb show", "", 0, "addresses: which MAC is behind which port", NULL, control_fdb_show},
	{"fdb add", "MAC port NAME", CONTROL_SETUP, "fix an address to a port", NULL,
	 control_fdb_add},
	{"fdb del", "MAC", 0, "forget one address", NULL, control_fdb_del},
	{"fdb flush", "[port NAME]", 0, "forget all learnt addresses", NULL, control_fdb_flush},
	{"stats show", "[NAME]", 0, "counters of ports", NULL, control_stats_show},
	{"stats reset", "", 0, "count from zero again", NULL, control_stats_reset_all},
	{"worker show", "", 0, "workers: load, turns, sleeps", NULL, control_worker_show},
	{"config show", "", 0, "the commands that make what runs now", NULL, control_config_show},
	{"config check", "FILE", CONTROL_LOCAL, "read a configuration, change nothing", NULL, NULL},
	{"wait", "NAME STATE [TIMEOUT]", CONTROL_WAITS, "wait until a port is in this state", NULL,
	 control_wait_state},
	{"switch set", "KEY VALUE", CONTROL_SETUP, "change the switch", check_switch_key,
	 control_switch_set},
	{"switch show", "", 0, "settings and totals of the switch", NULL, control_switch_show},
	{NULL, NULL, 0, NULL, NULL, NULL},
};

static int check_switch_key(const struct control_call *call, struct errmsg *err)
{
	struct control_suggestion s;
	char buffer[80];

	control_suggest_init(&s, call->key);
	for (const struct bridge_key *k = bridge_keys(); k->name; k++) {
		if (!strcmp(k->name, call->key))
			return 0;
		control_suggest_offer(&s, k->name);
	}
	return errmsg_set(err, "switch: unknown key '%.64s'%s", call->key,
			  control_suggest_text(&s, buffer));
}

/* Kinds of values: the word in capitals in a row's args, and how it is taken. */

static int take_name(struct control_call *call, const char *word, struct errmsg *err)
{
	call->name = word;
	return control_check_name(word, err);
}

static int take_type(struct control_call *call, const char *word, struct errmsg *err)
{
	struct control_suggestion s;
	char buffer[80];

	call->type = port_type_find(word);
	if (call->type)
		return 0;
	control_suggest_init(&s, word);
	for (unsigned i = 0; port_type_at(i); i++)
		control_suggest_offer(&s, port_type_at(i)->type);
	return errmsg_set(err, "port %s: unknown type '%.64s'%s", call->name, word,
			  control_suggest_text(&s, buffer));
}

static int take_mac(struct control_call *call, const char *word, struct errmsg *err)
{
	call->has_mac = true;
	return control_parse_mac(word, call->mac, err);
}

static int take_key(struct control_call *call, const char *word, struct errmsg *err)
{
	(void)err;
	call->key = word;
	return 0;
}

static int take_value(struct control_call *call, const char *word, struct errmsg *err)
{
	(void)err;
	call->value = word;
	return 0;
}

static int take_file(struct control_call *call, const char *word, struct errmsg *err)
{
	if (!*word)
		return errmsg_set(err, "the name of the file is empty");
	call->file = word;
	return 0;
}

static int take_state(struct control_call *call, const char *word, struct errmsg *err)
{
	struct control_suggestion s;
	char buffer[80];

	control_suggest_init(&s, word);
	for (unsigned i = 0; i < PORT_STATE_COUNT; i++) {
		const char *name = port_state_name((enum port_state)i);

		if (!strcmp(name, word)) {
			call->state = (enum port_state)i;
			return 0;
		}
		control_suggest_offer(&s, name);
	}
	return errmsg_set(err, "unknown state '%.64s'%s", word, control_suggest_text(&s, buffer));
}

static int take_timeout(struct control_call *call, const char *word, struct errmsg *err)
{
	return control_parse_seconds(word, &call->timeout_ns, err);
}

static const struct kind {
	const char *name;
	int (*take)(struct control_call *call, const char *word, struct errmsg *err);
} kinds[] = {
	{"NAME", take_name},   {"TYPE", take_type},	  {"MAC", take_mac},
	{"KEY", take_key},     {"VALUE", take_value},	  {"FILE", take_file},
	{"STATE", take_state}, {"TIMEOUT", take_timeout},
};

const char *control_usage(const struct control_command *command, char *buffer, size_t buffer_bytes)
{
	snprintf(buffer, buffer_bytes, "%s%s%s", command->words, *command->args ? " " : "",
		 command->args);
	return buffer;
}

static int usage_error(const struct control_command *command, const char *what, const char *word,
		       struct errmsg *err)
{
	char usage[128];

	return errmsg_set(err, "%s '%.64s'; usage: %s", what, word,
			  control_usage(command, usage, sizeof(usage)));
}

/* The index of @name in the type's keys, -1 with the closest one offered. */
static int find_key(const struct port_ops *type, const char *name, unsigned flags,
		    struct control_suggestion *s)
{
	control_suggest_init(s, name);
	for (int i = 0; type->keys[i].name; i++) {
		if (!strcmp(type->keys[i].name, name))
			return i;
		if ((type->keys[i].flags & flags) == flags)
			control_suggest_offer(s, type->keys[i].name);
	}
	return -1;
}

/* The pairs behind "port add NAME TYPE", each key once. */
static int take_pairs(struct control_call *call, const char *const *word, unsigned count,
		      struct errmsg *err)
{
	struct control_suggestion s;
	struct errmsg why;
	char buffer[80];

	for (unsigned i = 0; i < count; i += 2) {
		int key = find_key(call->type, word[i], 0, &s);

		if (key < 0)
			return errmsg_set(err, "port %s: unknown key '%.64s'%s", call->name,
					  word[i], control_suggest_text(&s, buffer));
		if (call->config.value[key])
			return errmsg_set(err, "port %s: key '%s' stands twice", call->name,
					  word[i]);
		if (i + 1 == count)
			return errmsg_set(err, "port %s: key '%s' has no value", call->name,
					  word[i]);
		if (control_check_port_value(&call->type->keys[key], word[i + 1], &why))
			return errmsg_set(err, "port %s: %.300s", call->name, why.text);
		call->config.value[key] = word[i + 1];
	}
	for (unsigned i = 0; call->type->keys[i].name; i++) {
		const struct port_key *key = &call->type->keys[i];

		if (!call->config.value[i] && (key->flags & PORT_KEY_REQUIRED))
			return errmsg_set(err, "port %s: type '%s' needs '%s'", call->name,
					  call->type->type,
					  control_port_key_usage(key, buffer, sizeof(buffer)));
		if (!call->config.value[i])
			call->config.value[i] = key->fallback;
	}
	return 0;
}

static int take_word(struct control_call *call, const char *token, const char *word,
		     struct errmsg *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, token))
			return kinds[i].take(call, word, err);
	if (strcmp(token, word) != 0)
		return errmsg_set(err, "'%s' belongs where '%.64s' stands", token, word);
	return 0;
}

/* Walk the row's args and the words behind the command side by side. */
static int take_args(struct control_call *call, const char *const *word, unsigned count,
		     struct errmsg *err)
{
	const struct control_command *command = call->command;
	const char *at = command->args;
	unsigned i = 0;

	while (*at) {
		char token[32];
		size_t bytes;

		if (!strcmp(at, "[KEY VALUE]..."))
			return take_pairs(call, word + i, count - i, err);
		if (*at == '[') {
			if (i == count)
				return 0;
			at++;
		}
		bytes = strcspn(at, " ]");
		snprintf(token, sizeof(token), "%.*s", (int)bytes, at);
		if (i == count)
			return usage_error(command, "missing", token, err);
		if (take_word(call, token, word[i++], err))
			return -EINVAL;
		at += bytes;
		at += strspn(at, "] ");
	}
	return i < count ? usage_error(command, "too much:", word[i], err) : 0;
}

/* How many of @words spell @command; 0 when they do not. */
static unsigned match(const struct control_command *command, const struct control_words *words)
{
	const char *at = command->words;
	unsigned i = 0;

	for (;;) {
		size_t bytes = strcspn(at, " ");

		if (i == words->count || strlen(words->word[i]) != bytes ||
		    strncmp(words->word[i], at, bytes) != 0)
			return 0;
		i++;
		at += bytes;
		if (!*at)
			return i;
		at++;
	}
}

static bool is_group(const struct control_command *command, const char *word)
{
	size_t bytes = strlen(word);

	return !strncmp(command->words, word, bytes) && command->words[bytes] == ' ';
}

/* "port" alone, or with something that is none of its commands. */
static int unknown_in_group(const struct control_words *words, struct errmsg *err)
{
	const char *group = words->word[0];
	const char *second = words->count > 1 ? words->word[1] : "";
	struct control_suggestion s;
	char list[96] = "";

	control_suggest_init(&s, second);
	for (const struct control_command *c = control_commands; c->words; c++) {
		const char *name;

		if (!is_group(c, group))
			continue;
		name = strchr(c->words, ' ') + 1;
		control_suggest_offer(&s, name);
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 *list ? ", " : "", name);
	}
	if (!*second)
		return errmsg_set(err, "'%s' goes on with one of: %s", group, list);
	if (s.best)
		return errmsg_set(err, "unknown command '%s %.40s'; did you mean '%s %s'?", group,
				  second, group, s.best);
	return errmsg_set(err, "unknown command '%s %.40s'; '%s' goes on with one of: %s", group,
			  second, group, list);
}

static int unknown_command(const struct control_words *words, struct errmsg *err)
{
	const struct control_command *c;
	struct control_suggestion two, one;
	char typed[96], buffer[80];

	for (c = control_commands; c->words; c++)
		if (is_group(c, words->word[0]))
			return unknown_in_group(words, err);
	snprintf(typed, sizeof(typed), "%.40s%s%.40s", words->word[0], words->count > 1 ? " " : "",
		 words->count > 1 ? words->word[1] : "");
	control_suggest_init(&two, typed);
	/* Perhaps the first word is all of the command. */
	control_suggest_init(&one, words->word[0]);
	for (c = control_commands; c->words; c++) {
		control_suggest_offer(&two, c->words);
		control_suggest_offer(&one, c->words);
	}
	return errmsg_set(err, "unknown command '%s'%s", typed,
			  control_suggest_text(two.best ? &two : &one, buffer));
}

int control_parse(const struct control_words *words, struct control_call *ret_call,
		  struct errmsg *err)
{
	struct control_call *call = ret_call;
	const struct control_command *command;
	unsigned own = 0;
	int error;

	memset(call, 0, offsetof(struct control_call, words));
	error = control_words_set(words->word, words->count, &call->words, err);
	if (error)
		return error;
	if (call->words.count == 0)
		return errmsg_set(err, "a command is missing");
	for (command = control_commands; command->words; command++) {
		own = match(command, &call->words);
		if (own)
			break;
	}
	if (!own)
		return unknown_command(&call->words, err);
	call->command = command;
	call->timeout_ns = WAIT_DEFAULT_NS;
	error = take_args(call, call->words.word + own, call->words.count - own, err);
	if (error)
		return error;
	return command->check ? command->check(call, err) : 0;
}

int control_check_set(const struct port_ops *type, const char *key, const char *value,
		      unsigned *ret_key, struct errmsg *err)
{
	struct control_suggestion s;
	char buffer[80];
	int i = find_key(type, key, PORT_KEY_SETTABLE, &s);

	if (i < 0)
		return errmsg_set(err, "unknown key '%.64s'%s", key,
				  control_suggest_text(&s, buffer));
	if (!(type->keys[i].flags & PORT_KEY_SETTABLE))
		return errmsg_set(err, "key '%s' cannot be changed while the port is there", key);
	if (control_check_port_value(&type->keys[i], value, err))
		return -EINVAL;
	*ret_key = (unsigned)i;
	return 0;
}

int control_run(struct control *c, const struct control_call *call, json_t **ret_result,
		struct errmsg *err)
{
	*ret_result = NULL;
	if (!call->command->run) {
		errmsg_set(err, "'%s' is done by the client, not by the switch",
			   call->command->words);
		return -EOPNOTSUPP;
	}
	return call->command->run(c, call, ret_result, err);
}
