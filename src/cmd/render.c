/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers as text: a table for what is a list of alike things, "key value" lines for one thing. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cmd/cmd.h"

#define COLUMNS_MAX 16
#define TEXT_BYTES  256

/* A column: its title and where its value stands, as in "counters.in_frames". */
struct column {
	const char *title;
	const char *path;
};

static const struct view {
	const char *words;
	struct column columns[COLUMNS_MAX];
} views[] = {
	{"port show",
	 {{"NAME", "name"},
	  {"TYPE", "type"},
	  {"STATE", "state"},
	  {"IN", "counters.in_frames"},
	  {"IN/S", "rates.in_frames_per_s"},
	  {"IN-BYTES", "counters.in_bytes"},
	  {"OUT", "counters.out_frames"},
	  {"OUT/S", "rates.out_frames_per_s"},
	  {"OUT-BYTES", "counters.out_bytes"},
	  {"DROPPED", "counters.dropped"},
	  {"WHY", "why"}}},
	{"stats show",
	 {{"NAME", "name"},
	  {"IN", "counters.in_frames"},
	  {"IN-BYTES", "counters.in_bytes"},
	  {"OUT", "counters.out_frames"},
	  {"OUT-BYTES", "counters.out_bytes"},
	  {"IN-PLACE-BYTES", "counters.in_place_bytes"},
	  {"LENT-BYTES", "counters.lent_bytes"},
	  {"COPIED-BYTES", "counters.copied_bytes"},
	  {"DROPPED", "counters.dropped"}}},
	{"fdb show", {{"MAC", "mac"}, {"PORT", "port"}, {"TYPE", "type"}, {"AGE", "age_s"}}},
	{"worker show",
	 {{"WORKER", "index"},
	  {"CPU", "cpu"},
	  {"BUSY", "busy_share"},
	  {"TURNS", "turns"},
	  {"FRAMES", "frames"},
	  {"FRAMES/TURN", "frames_per_turn"},
	  {"SLEEPS", "sleeps"},
	  {"COPIED-BYTES", "payload_copied_bytes"}}},
};

/* What a guest or a front-end can have had a hand in must not steer the terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/* A scalar as text; "" for none. */
static void scalar_text(const json_t *value, char *buffer, size_t buffer_bytes)
{
	buffer[0] = 0;
	if (json_is_string(value))
		snprintf(buffer, buffer_bytes, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(buffer, buffer_bytes, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(buffer, buffer_bytes, "%.3f", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(buffer, buffer_bytes, "%s", json_is_true(value) ? "yes" : "no");
	make_printable(buffer);
}

static bool is_scalar(const json_t *value)
{
	return !json_is_object(value) && !json_is_array(value);
}

static const json_t *at_path(const json_t *object, const char *path)
{
	while (object && *path) {
		char key[64];
		size_t bytes = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)bytes, path);
		object = json_object_get(object, key);
		path += bytes + (path[bytes] == '.');
	}
	return object;
}

static unsigned column_count(const struct column *columns)
{
	unsigned n = 0;

	while (n < COLUMNS_MAX && columns[n].title)
		n++;
	return n;
}

static void print_line_end(unsigned indent)
{
	printf("\n%*s", (int)indent, "");
}

static void print_table(const json_t *list, const struct column *columns, unsigned indent)
{
	unsigned count = column_count(columns);
	size_t width[COLUMNS_MAX];
	char text[TEXT_BYTES];

	for (unsigned c = 0; c < count; c++) {
		width[c] = strlen(columns[c].title);
		for (size_t i = 0; i < json_array_size(list); i++) {
			const json_t *row = json_array_get(list, i);

			scalar_text(at_path(row, columns[c].path), text, sizeof(text));
			width[c] = strlen(text) > width[c] ? strlen(text) : width[c];
		}
	}
	printf("%*s", (int)indent, "");
	for (unsigned c = 0; c < count; c++)
		printf("%-*s", c + 1 < count ? (int)width[c] + 2 : 0, columns[c].title);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i);

		print_line_end(indent);
		for (unsigned c = 0; c < count; c++) {
			scalar_text(at_path(row, columns[c].path), text, sizeof(text));
			printf("%-*s", c + 1 < count ? (int)width[c] + 2 : 0, text);
		}
	}
	putchar('\n');
}

/* A list inside of a thing: columns are the scalar members of its first element. */
static void print_inner_table(const json_t *list, unsigned indent)
{
	struct column columns[COLUMNS_MAX] = {0};
	json_t *first = json_array_get(list, 0);
	const char *key;
	unsigned count = 0;
	json_t *value;

	json_object_foreach(first, key, value)
	{
		if (is_scalar(value) && count < COLUMNS_MAX)
			columns[count++] = (struct column){key, key};
	}
	print_table(list, columns, indent);
}

static void print_words(const json_t *list)
{
	char text[TEXT_BYTES];

	for (size_t i = 0; i < json_array_size(list); i++) {
		scalar_text(json_array_get(list, i), text, sizeof(text));
		printf("%s%s", i ? " " : "", text);
	}
	putchar('\n');
}

static bool is_empty(const json_t *value)
{
	return (json_is_string(value) && !*json_string_value(value)) ||
	       (json_is_object(value) && !json_object_size(value)) ||
	       (json_is_array(value) && !json_array_size(value));
}

/* Values of one object stand below each other. */
static int key_width(const json_t *object)
{
	const char *key;
	json_t *value;
	size_t width = 0;

	json_object_foreach((json_t *)object, key, value)
	{
		if (!is_empty(value) && strlen(key) > width)
			width = strlen(key);
	}
	return (int)width;
}

/* Members line by line; what is nested is told deeper. Answers are at most a few levels deep. */
static void print_members(const json_t *object, unsigned indent)
{
	int width = key_width(object);
	char text[TEXT_BYTES];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (is_empty(value))
			continue;
		printf("%*s", (int)indent, "");
		if (is_scalar(value)) {
			scalar_text(value, text, sizeof(text));
			printf("%-*s  %s\n", width, key, text);
		} else if (json_is_object(value)) {
			printf("%s\n", key);
			print_members(value, indent + 2);
		} else if (json_is_object(json_array_get(value, 0))) {
			printf("%s\n", key);
			print_inner_table(value, indent + 2);
		} else {
			printf("%-*s  ", width, key);
			print_words(value);
		}
	}
}

/* Commands that somebody reads back: nothing is replaced in them. */
static void print_lines(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		puts(json_string_value(json_array_get(list, i)));
}

static const struct view *find_view(const char *words)
{
	for (unsigned i = 0; i < ARRAY_SIZE(views); i++)
		if (!strcmp(views[i].words, words))
			return &views[i];
	return NULL;
}

void cmd_render(const struct control_call *call, const json_t *result)
{
	const struct view *view = find_view(call->command->words);

	if (json_is_object(result))
		print_members(result, 0);
	else if (json_is_string(json_array_get(result, 0)))
		print_lines(result);
	else if (view && call->name && json_array_size(result) == 1)
		print_members(json_array_get(result, 0), 0);
	else if (view && json_is_array(result))
		print_table(result, view->columns, 0);
}
