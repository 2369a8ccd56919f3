/* SPDX-License-Identifier: BSD-2-Clause */
/* The parser against its table: every command in every form, wrong ones, values, plans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "control/grammar.h"
#include "control/plan.h"
#include "control/value.h"

static struct control_call call;
static struct errmsg err;

static int parse(const char *line)
{
	static struct control_words words;

	err.text[0] = 0;
	return control_lex(line, &words, &err) ? -1 : control_parse(&words, &call, &err);
}

static void accept_line(const char *line)
{
	if (parse(line))
		fail_msg("%s: %s", line, err.text);
}

static void refuse_line(const char *line, const char *why)
{
	if (parse(line) == 0)
		fail_msg("'%s' was accepted", line);
	if (!strstr(err.text, why))
		fail_msg("'%s': '%s' instead of '%s'", line, err.text, why);
}

/* A word that is right for the kind of value. */
static const char *sample(const char *kind)
{
	static const char *const samples[][2] = {
		{"NAME", "a.B-9_"},  {"TYPE", "null"},	{"MAC", "52:54:00:12:34:56"},
		{"KEY", "ageing"},   {"VALUE", "30"},	{"FILE", "x.conf"},
		{"STATE", "broken"}, {"TIMEOUT", "5s"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(samples); i++)
		if (!strcmp(samples[i][0], kind))
			return samples[i][1];
	return kind; /* stands for itself */
}

/* Every row, from its own args: with and without what may be left out, one word less, one more. */
static void test_every_row(void **state)
{
	unsigned rows = 0;

	(void)state;
	for (const struct control_command *c = control_commands; c->words; c++, rows++) {
		char line[256], args[128];
		char *save = NULL;
		unsigned needed = 0;

		snprintf(line, sizeof(line), "%s", c->words);
		snprintf(args, sizeof(args), "%s", c->args);
		for (char *t = strtok_r(args, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
			if (*t == '[') {
				accept_line(line);
				if (!strcmp(t, "[KEY"))
					break;
				t++;
			} else if (needed++ > 0 || strchr(c->words, ' ')) {
				refuse_line(line, "missing");
			}
			t[strcspn(t, "]")] = 0;
			snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s",
				 sample(t));
		}
		accept_line(line);
		assert_ptr_equal(call.command, c);
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " surplus");
		assert_true(parse(line) < 0);
	}
	assert_true(rows >= 16);
}

static void test_values_arrive(void **state)
{
	(void)state;
	accept_line("fdb add 52:54:00:aB:34:56 port x");
	assert_memory_equal(call.mac, "\x52\x54\x00\xab\x34\x56", 6);
	assert_string_equal(call.name, "x");
	accept_line("wait x broken 250ms");
	assert_int_equal(call.state, PORT_BROKEN);
	assert_int_equal(call.timeout_ns, 250 * NS_PER_MS);
	accept_line("wait x waiting");
	assert_int_equal(call.timeout_ns, 10 * NS_PER_S);
	accept_line("fdb flush");
	assert_null(call.name);
	accept_line("fdb flush port y");
	assert_string_equal(call.name, "y");
}

static const char *value_of(const char *key)
{
	for (unsigned i = 0; call.type->keys[i].name; i++)
		if (!strcmp(call.type->keys[i].name, key))
			return call.config.value[i];
	fail();
	return NULL;
}

static void test_keys_of_ports(void **state)
{
	(void)state;
	accept_line("port add a vm queues 4 socket '/x y'");
	assert_string_equal(value_of("socket"), "/x y");
	assert_string_equal(value_of("queues"), "4");
	assert_string_equal(value_of("mode"), "server"); /* its fallback */
	assert_null(value_of("mac"));
	refuse_line("port add a vm que 2", "port a: unknown key 'que'; did you mean 'queues'?");
	refuse_line("port add a vm", "type 'vm' needs 'socket PATH'");
	refuse_line("port add a vm socket", "key 'socket' has no value");
	refuse_line("port add a vm socket ''", "key 'socket': has 0 bytes");
	refuse_line("port add a vm socket x socket y", "stands twice");
	refuse_line("port add a vm socket x queues 0", "is no number from 1 to 128");
	refuse_line("port add a vm socket x queues 129", "is no number from 1 to 128");
	refuse_line("port add a vm socket x queues 4x", "is no number");
	refuse_line("port add a vm socket x queues -1", "is no number");
	refuse_line("port add a vm socket x queues 18446744073709551617", "is no number");
	refuse_line("port add a vm socket x perm 0778", "is no octal number");
	refuse_line("port add a vm socket x perm 1000", "is no octal number");
	refuse_line("port add a vm socket x mode serv", "is none of server|client");
	refuse_line("port add a vm socket x mode server|client", "is none of");
	refuse_line("port add a vm socket x mac 53:54:00:00:00:01", "multicast");
	refuse_line("port add a vm socket x mac 00:00:00:00:00:00", "is no address");
	refuse_line("port add a vm socket x mac 52:54:00:00:00:0", "is no MAC");
	refuse_line("port add a vm socket x mac 52:54:00:00:00:011", "is no MAC");
	refuse_line("port add a vm socket x mac 52-54-00-00-00-01", "is no MAC");
	refuse_line("port add a wm socket x", "unknown type 'wm'; did you mean 'vm'?");
}

static void test_unknown_commands(void **state)
{
	(void)state;
	refuse_line("port", "'port' goes on with one of: add, set, del, show");
	refuse_line("prot add a null", "did you mean 'port add'?");
	refuse_line("port shw", "did you mean 'port show'?");
	refuse_line("port something", "'port' goes on with one of");
	refuse_line("stats rest", "did you mean 'stats reset'?");
	refuse_line("wai a running", "did you mean 'wait'?");
	refuse_line("xyzzy", "unknown command 'xyzzy'");
	refuse_line("''", "unknown command ''");
	refuse_line("'port show'", "unknown command 'port show'");
}

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(control_check_name("a", &err), 0);
	assert_int_equal(control_check_name("0123456789.ABCDEFGHIJ_abcdefg-x", &err), 0);
	assert_true(control_check_name("0123456789.ABCDEFGHIJ_abcdefg-xy", &err) < 0);
	assert_true(control_check_name("", &err) < 0);
	assert_true(control_check_name("a b", &err) < 0);
	assert_true(control_check_name("a/b", &err) < 0);
	assert_true(control_check_name("\xc3\xa4", &err) < 0);
}

static void test_seconds(void **state)
{
	static const char *const wrong[] = {
		"",    "s",	"-1",  "1.5",	     "1m",
		"1 s", "86401", "0x1", "86400001ms", "99999999999999999999"};
	uint64_t ns;

	(void)state;
	assert_int_equal(control_parse_seconds("0", &ns, &err), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(control_parse_seconds("86400", &ns, &err), 0);
	assert_int_equal(ns, 86400 * NS_PER_S);
	assert_int_equal(control_parse_seconds("15ms", &ns, &err), 0);
	assert_int_equal(ns, 15 * NS_PER_MS);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_true(control_parse_seconds(wrong[i], &ns, &err) < 0);
}

/* Every type's table makes sense in itself: its fallbacks pass its own checks. */
static void test_tables_of_types(void **state)
{
	(void)state;
	for (unsigned i = 0; port_type_at(i); i++) {
		const struct port_ops *type = port_type_at(i);
		unsigned count = 0;

		assert_ptr_equal(port_type_find(type->type), type);
		assert_non_null(type->help);
		for (const struct port_key *key = type->keys; key->name; key++, count++) {
			assert_non_null(key->help);
			if (key->kind == PORT_KEY_CHOICE)
				assert_non_null(key->choices);
			if (key->fallback)
				assert_int_equal(control_check_port_value(key, key->fallback, &err),
						 0);
			if (key->flags & PORT_KEY_SETTABLE)
				assert_non_null(type->set);
		}
		assert_true(count < PORT_KEYS_MAX);
	}
}

static void test_hostile_lines(void **state)
{
	char line[CONTROL_LINE_BYTES];
	unsigned seed = 1;

	(void)state;
	/* Commands with some characters changed: a verdict and a reason, never a crash. */
	for (unsigned round = 0; round < 20000; round++) {
		const struct control_command *c = &control_commands[round % 16];
		size_t bytes, at;

		snprintf(line, sizeof(line), "%s a vm socket /x queues 2", c->words);
		bytes = strlen(line);
		for (unsigned n = 0; n < 3; n++) {
			seed = seed * 1103515245u + 12345u;
			at = (seed >> 8) % bytes;
			line[at] = (char)(1 + (seed >> 16) % 255);
		}
		if (parse(line))
			assert_true(err.text[0] != 0);
		else
			assert_non_null(call.command);
	}
}

static struct control_plan *plan;

static int plan_text(const char *text)
{
	char path[] = "/tmp/lastref-plan-XXXXXX";
	int fd = mkstemp(path);
	int error;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(control_plan_new(&plan), 0);
	error = control_plan_file(plan, path, &err);
	unlink(path);
	return error;
}

static void test_plan(void **state)
{
	(void)state;
	assert_int_equal(plan_text("port add a null\n#\n\nport add b null"), 0);
	assert_int_equal(control_plan_count(plan), 2);
	/* Arguments come after the file, and know what is in it. */
	assert_int_equal(control_plan_argument(plan, 1, "port add a null", &err), -EEXIST);
	assert_non_null(strstr(err.text, "argument 1: port 'a' exists since line 1"));
	assert_int_equal(control_plan_argument(plan, 2, "port add c null", &err), 0);
	assert_int_equal(control_plan_argument(plan, 3, "port add c null", &err), -EEXIST);
	assert_non_null(strstr(err.text, "argument 3: port 'c' exists since argument 2"));
	assert_int_equal(control_plan_argument(plan, 4, "  ", &err), 0);
	assert_int_equal(control_plan_argument(plan, 5, "fdb add 52:54:00:00:00:01 port c", &err),
			 0);
	assert_int_equal(control_plan_count(plan), 4);
	control_plan_free(plan);

	assert_int_equal(plan_text("port add a null\nport add b null\nport add a null\n"), -EEXIST);
	assert_non_null(strstr(err.text, ":3: port 'a' exists since line 1"));
	control_plan_free(plan);
	assert_int_equal(plan_text("port set a queues 2\n"), -ENOENT);
	control_plan_free(plan);
	assert_int_equal(plan_text("port add a vm socket x\nport set a queue 2\n"), -EINVAL);
	assert_non_null(strstr(err.text, ":2: port a: unknown key 'queue'"));
	control_plan_free(plan);
	control_plan_free(NULL);
}

static void test_plan_is_bounded(void **state)
{
	char *text = malloc(300 * 32);
	size_t at = 0;

	(void)state;
	for (unsigned i = 0; i <= PORTS_MAX; i++)
		at += (size_t)snprintf(text + at, 32, "port add n%u null\n", i);
	assert_int_equal(plan_text(text), -ENOSPC);
	assert_non_null(strstr(err.text, ":257: a switch has at most 256 ports"));
	control_plan_free(plan);
	free(text);
	assert_int_equal(control_plan_new(&plan), 0);
	assert_int_equal(control_plan_file(plan, "/none/x.conf", &err), -ENOENT);
	assert_true(control_plan_file(plan, "/tmp", &err) < 0);
	assert_int_equal(control_plan_file(plan, "/dev/zero", &err), -EFBIG);
	control_plan_free(plan);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row),
		cmocka_unit_test(test_values_arrive),
		cmocka_unit_test(test_keys_of_ports),
		cmocka_unit_test(test_unknown_commands),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_tables_of_types),
		cmocka_unit_test(test_hostile_lines),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_plan_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
