/* SPDX-License-Identifier: BSD-2-Clause */
/* "lastref COMMAND": check it, send it to the switch at the control socket, show the answer. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <getopt.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "control/plan.h"
#include "control/socket.h"

#define ANSWER_WAIT_NS	 (30 * NS_PER_S) /* beside what the command itself waits */
#define ANSWER_BYTES_MAX (64u << 20)

enum {
	OPTION_JSON,
	OPTION_CONTROL,
	OPTION_HELP,
	OPTION_VERSION,
};

const struct cmd_option client_options[] = {
	[OPTION_JSON] = {"json", 'j', NULL, "print the answer as JSON"},
	[OPTION_CONTROL] = {"control", 0, "PATH", "control socket of the switch"},
	[OPTION_HELP] = {"help", 'h', NULL, "this text; behind a command: about it"},
	[OPTION_VERSION] = {"version", 0, NULL, "print the version"},
	{0},
};

struct client {
	bool json;
	bool help;
	const char *control;
	struct control_words words;
	struct control_call call;
};

/* Behind the options: one argument is a line, more are its words. Options may stand behind, too. */
static int read_words(struct client *c, int argc, char **argv)
{
	const char *words[CONTROL_WORDS_MAX + 1];
	size_t count = 0;
	struct errmsg err;
	int error;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			c->help = true;
		else if (count <= CONTROL_WORDS_MAX)
			words[count++] = argv[i];
	}
	if (count == 1)
		error = control_lex(words[0], &c->words, &err);
	else
		error = control_words_set(words, count, &c->words, &err);
	return error ? cmd_fail(CMD_USAGE, "%s", err.text) : 0;
}

/* Return: a connected socket, -1 having said why not */
static int connect_to_switch(const char *path)
{
	const struct timeval wait = {.tv_sec = ANSWER_WAIT_NS / NS_PER_S};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(a.sun_path)) {
		cmd_fail(0, "control socket %s: the path has %zu bytes, a socket's at most %zu",
			 path, strlen(path), sizeof(a.sun_path) - 1);
		return -1;
	}
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A switch that hangs takes no connection any more. */
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0 &&
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		cmd_fail(0, "no switch at control socket %s; does lastref switch run?", path);
	else
		cmd_fail(0, "control socket %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static json_t *make_request(const struct control_words *words)
{
	json_t *cmd = json_array();

	for (unsigned i = 0; i < words->count; i++) {
		json_t *word = json_string(words->word[i]);

		if (!word) {
			json_decref(cmd);
			return NULL;
		}
		json_array_append_new(cmd, word);
	}
	return json_pack("{s:o}", "cmd", cmd);
}

static bool send_line(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		text += n;
		bytes -= (size_t)n;
	}
	return true;
}

/* One line. Return: NULL when it did not come whole or in time; the caller's to free */
static char *receive_line(int fd, uint64_t until_ns)
{
	size_t bytes = 0, room = 4096;
	char *text = malloc(room);

	while (text) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now_ns = clock_now_ns();
		char *more;
		ssize_t n;

		if (now_ns >= until_ns ||
		    poll(&p, 1, (int)((until_ns - now_ns) / NS_PER_MS) + 1) <= 0)
			break;
		n = recv(fd, text + bytes, room - bytes - 1, 0);
		if (n <= 0)
			break;
		bytes += (size_t)n;
		text[bytes] = 0;
		if (text[bytes - 1] == '\n')
			return text;
		if (bytes + 1 < room)
			continue;
		more = room < ANSWER_BYTES_MAX ? realloc(text, room *= 2) : NULL;
		if (!more)
			break;
		text = more;
	}
	free(text);
	return NULL;
}

/* Ask the switch. Return: its answer, NULL having said why there is none and set @ret_code */
static json_t *ask(const struct client *c, int *ret_code)
{
	uint64_t until_ns = clock_now_ns() + ANSWER_WAIT_NS + c->call.timeout_ns;
	json_t *request, *answer = NULL;
	char *line = NULL;
	int fd;

	*ret_code = CMD_NO_SWITCH;
	request = make_request(&c->words);
	if (!request) {
		*ret_code = cmd_fail(CMD_USAGE, "the command is not UTF-8");
		return NULL;
	}
	fd = connect_to_switch(c->control);
	if (fd >= 0)
		line = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (!line)
		goto close;
	if (send_line(fd, line, strlen(line)) && send_line(fd, "\n", 1)) {
		free(line);
		line = receive_line(fd, until_ns);
		answer = line ? json_loads(line, 0, NULL) : NULL;
	}
	if (!answer)
		cmd_fail(0, "control socket %s: the switch gave no answer", c->control);
	free(line);
close:
	if (fd >= 0)
		close(fd);
	return answer;
}

static void show(const struct client *c, const json_t *result)
{
	if (c->json) {
		json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
		putchar('\n');
	} else {
		cmd_render(&c->call, result);
	}
}

/* "config check": no switch is needed, and what the file holds is read with our rights. */
static int check_config(const struct client *c)
{
	struct control_plan *plan;
	struct errmsg err;
	json_t *result;
	int code = CMD_DONE;

	if (control_plan_new(&plan))
		return cmd_fail(CMD_REFUSED, "no memory");
	if (control_plan_file(plan, c->call.file, &err)) {
		code = cmd_fail(CMD_REFUSED, "%s", err.text);
	} else {
		result = json_pack("{s:s, s:i}", "file", c->call.file, "commands",
				   (int)control_plan_count(plan));
		show(c, result);
		json_decref(result);
	}
	control_plan_free(plan);
	return code;
}

static int speak(const struct client *c)
{
	const char *error, *kind;
	json_t *answer;
	int code;

	answer = ask(c, &code);
	if (!answer)
		return code;
	error = json_string_value(json_object_get(answer, "error"));
	kind = json_string_value(json_object_get(answer, "kind"));
	if (error) {
		code = kind && !strcmp(kind, "usage") ? CMD_USAGE : CMD_REFUSED;
		cmd_fail(0, "%s", error);
	} else {
		code = CMD_DONE;
		show(c, json_object_get(answer, "ok"));
	}
	json_decref(answer);
	if (fflush(stdout))
		return cmd_fail(CMD_REFUSED, "cannot write the answer: %s", strerror(errno));
	return code;
}

int client_main(int argc, char **argv)
{
	static struct client c;
	static char path[CONTROL_PATH_BYTES];
	struct errmsg err;
	unsigned option = 0;
	int more, code;

	while ((more = cmd_next_option(argc, argv, client_options, &option)) > 0) {
		if (option == OPTION_JSON)
			c.json = true;
		else if (option == OPTION_CONTROL)
			c.control = optarg;
		else if (option == OPTION_HELP)
			return cmd_help(stdout), CMD_DONE;
		else if (option == OPTION_VERSION)
			return printf("lastref %s\n", LASTREF_VERSION), CMD_DONE;
	}
	if (more < 0)
		return CMD_USAGE;
	if (optind == argc)
		return cmd_fail(CMD_USAGE, "a command is missing; see lastref --help");
	code = read_words(&c, argc - optind, argv + optind);
	if (code)
		return code;
	if (c.help)
		return cmd_help_command(&c.words);
	if (control_parse(&c.words, &c.call, &err))
		return cmd_fail(CMD_USAGE, "%s", err.text);
	if (c.call.command->flags & CONTROL_LOCAL)
		return check_config(&c);
	if (!c.control) {
		if (control_default_path(false, path, &err))
			return cmd_fail(CMD_USAGE, "%s", err.text);
		c.control = path;
	}
	return speak(&c);
}
