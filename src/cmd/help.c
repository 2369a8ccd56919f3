/* SPDX-License-Identifier: BSD-2-Clause */
/* Help, written from the tables that parse: options, commands, types of ports. */
#include <string.h>

#include "cmd/cmd.h"
#include "control/value.h"
#include "switch/bridge.h"

#define COLUMN 38

static void row(FILE *to, const char *left, const char *right)
{
	if (strlen(left) < COLUMN)
		fprintf(to, "  %-*s %s\n", COLUMN, left, right);
	else
		fprintf(to, "  %s\n  %-*s %s\n", left, COLUMN, "", right);
}

static void help_options(FILE *to, const struct cmd_option *options)
{
	for (; options->name; options++) {
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", options->letter ? '-' : ' ',
			 options->letter ? options->letter : ' ', options->letter ? ", " : "  ",
			 options->name, options->arg ? " " : "", options->arg ? options->arg : "");
		row(to, left, options->help);
	}
}

static void help_commands(FILE *to)
{
	for (const struct control_command *c = control_commands; c->words; c++) {
		char usage[128];

		row(to, control_usage(c, usage, sizeof(usage)), c->help);
	}
}

static void help_keys(FILE *to, const struct port_key *keys)
{
	for (; keys->name; keys++) {
		char usage[96], left[112], right[256];

		snprintf(left, sizeof(left), "  %s",
			 control_port_key_usage(keys, usage, sizeof(usage)));
		snprintf(right, sizeof(right), "%s%s%s%s%s", keys->help ? keys->help : "",
			 keys->flags & PORT_KEY_REQUIRED ? " (required)" : "",
			 keys->fallback ? "; default " : "", keys->fallback ? keys->fallback : "",
			 keys->flags & PORT_KEY_SETTABLE ? "; port set" : "");
		row(to, left, right);
	}
}

static void help_ports(FILE *to)
{
	for (unsigned i = 0; port_type_at(i); i++) {
		const struct port_ops *type = port_type_at(i);

		row(to, type->type, type->help);
		help_keys(to, type->keys);
	}
}

static void help_settings(FILE *to)
{
	for (const struct bridge_key *k = bridge_keys(); k->name; k++)
		row(to, k->name, k->help);
}

void cmd_help(FILE *to)
{
	fputs("usage: lastref switch [OPTION]... ['COMMAND'...]   be a switch\n"
	      "       lastref [-j] [--control PATH] COMMAND       speak to a switch that runs\n"
	      "       lastref demo                                built-in guests, about 10 s\n"
	      "       lastref --version\n"
	      "\nOptions in front of a command:\n",
	      to);
	help_options(to, client_options);
	fputs("\nOptions of lastref switch:\n", to);
	help_options(to, switch_options);
	fputs("\nOptions of lastref demo:\n", to);
	help_options(to, demo_options);
	fputs("\nCommands:\n", to);
	help_commands(to);
	fputs("\nTypes of ports and their keys:\n", to);
	help_ports(to);
	fputs("\nKeys of switch set:\n", to);
	help_settings(to);
	fputs("\nSee lastref(8) and lastref-control(7).\n", to);
}

void cmd_help_switch(FILE *to)
{
	fputs("usage: lastref switch [OPTION]... ['COMMAND'...]\n\n"
	      "Be a switch until SIGTERM; says \"ready\" when all sockets listen. Each COMMAND is "
	      "one\n"
	      "argument, such as 'port add a vm socket /run/a.sock'; those of --config come "
	      "first.\n\n",
	      to);
	help_options(to, switch_options);
	fputs("\nCommands that can stand here and in a configuration:\n", to);
	for (const struct control_command *c = control_commands; c->words; c++) {
		char usage[128];

		if (c->flags & CONTROL_SETUP)
			row(to, control_usage(c, usage, sizeof(usage)), c->help);
	}
	fputs("\nTypes of ports and their keys:\n", to);
	help_ports(to);
	fputs("\nKeys of switch set:\n", to);
	help_settings(to);
}

void cmd_help_demo(FILE *to)
{
	fputs("usage: lastref demo [OPTION]...\n\n"
	      "Three built-in guests connect to a switch in this process and exchange frames, "
	      "unicast\n"
	      "and flooded; every byte that arrives is checked. First with the guests' buffers "
	      "used in\n"
	      "place, then with every frame copied at the entrance. Needs no privileges. Exit "
	      "status:\n"
	      "0 when every frame arrived once and unchanged and every buffer came back once, else "
	      "1.\n"
	      "\n",
	      to);
	help_options(to, demo_options);
}

/* Whether the row begins with the words typed. */
static bool begins_with(const struct control_command *c, const struct control_words *words)
{
	const char *at = c->words;

	for (unsigned i = 0; i < words->count; i++) {
		size_t bytes = strcspn(at, " ");

		if (!bytes || strlen(words->word[i]) != bytes ||
		    strncmp(at, words->word[i], bytes) != 0)
			return bytes == 0; /* more words than the command's: its arguments */
		at += bytes;
		at += strspn(at, " ");
	}
	return true;
}

int cmd_help_command(const struct control_words *words)
{
	bool found = false, ports = false, settings = false;

	for (const struct control_command *c = control_commands; c->words; c++) {
		char usage[128];

		if (!begins_with(c, words))
			continue;
		found = true;
		ports |= !strcmp(c->words, "port add") || !strcmp(c->words, "port set");
		settings |= !strcmp(c->words, "switch set");
		row(stdout, control_usage(c, usage, sizeof(usage)), c->help);
	}
	if (!found)
		return cmd_fail(CMD_USAGE, "unknown command '%s'; see lastref --help",
				words->word[0]);
	if (ports) {
		fputs("\nTypes of ports and their keys:\n", stdout);
		help_ports(stdout);
	}
	if (settings) {
		fputs("\nKeys:\n", stdout);
		help_settings(stdout);
	}
	return CMD_DONE;
}
