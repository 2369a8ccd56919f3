/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection of the control socket.
 *
 * Theory of operation
 *
 * One request is served at a time: while its answer is on the way, or waits for a port, nothing
 * more is read. So a client that does not read its answers holds one of them and nothing else, and
 * what it sends stays in the kernel. A client that has closed its sending side still gets its
 * answers.
 */
#include "control/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/socket.h"

#define READ_BYTES	  4096
#define REQUESTS_PER_CALL 16 /* of one client, before others are looked at */

int control_client_new(struct control *c, int fd, sd_event_io_handler_t handler,
		       struct control_client **ret_client)
{
	struct control_client *client = calloc(1, sizeof(*client));
	int error;

	if (!client)
		return -ENOMEM;
	list_init(&client->node);
	client->control = c;
	client->active_ns = clock_now_ns();
	error = sd_event_add_io(c->env.loop, &client->io, fd, EPOLLIN, handler, client);
	if (error < 0) {
		free(client);
		return error;
	}
	client->fd = fd;
	*ret_client = client;
	return 0;
}

void control_client_free(struct control_client *client)
{
	list_remove(&client->node);
	sd_event_source_disable_unref(client->io);
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client->waiting);
	free(client);
}

/* Take over @answer and begin to send it. */
static void reply(struct control_client *client, json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT);

	json_decref(answer);
	if (!text) { /* no memory: the client sees the connection close */
		client->closing = true;
		return;
	}
	client->out_bytes = strlen(text);
	client->out_at = 0;
	text[client->out_bytes++] = '\n'; /* where the NUL was */
	client->out = text;
}

static void reply_ok(struct control_client *client, json_t *result)
{
	reply(client, json_pack("{s:o}", "ok", result ? result : json_null()));
}

/* The text may quote what the client sent: not always UTF-8. */
static void reply_error(struct control_client *client, const char *kind, const char *text)
{
	json_t *error = json_string(text);

	if (!error)
		error = json_string("the command is not UTF-8");
	reply(client, json_pack("{s:o, s:s}", "error", error, "kind", kind));
}

/* The words of {"cmd": ...}. Return: 0, -EINVAL with @err set */
static int request_words(const json_t *request, struct control_words *ret_words, struct errmsg *err)
{
	const json_t *cmd = json_object_get(request, "cmd");
	const char *words[CONTROL_WORDS_MAX];
	size_t count = json_array_size(cmd);

	if (json_is_string(cmd))
		return control_lex(json_string_value(cmd), ret_words, err);
	if (!json_is_array(cmd))
		return errmsg_set(err, "a request is an object such as {\"cmd\":[\"port\","
				       "\"show\"]}");
	if (count > CONTROL_WORDS_MAX)
		return errmsg_set(err, "a command has at most %d words", CONTROL_WORDS_MAX);
	for (size_t i = 0; i < count; i++) {
		words[i] = json_string_value(json_array_get(cmd, i));
		if (!words[i])
			return errmsg_set(err, "word %zu of the command is no string", i + 1);
	}
	return control_words_set(words, count, ret_words, err);
}

/* Run a checked call and answer, or begin to wait. */
static void run(struct control_client *client, const struct control_call *call)
{
	struct errmsg err = {""};
	json_t *result = NULL;
	int error = control_run(client->control, call, &result, &err);

	if (!error) {
		reply_ok(client, result);
		return;
	}
	if (error == -EAGAIN && (call->command->flags & CONTROL_WAITS)) {
		/* Its words point into the call itself: parse it again into its new place. */
		client->waiting = malloc(sizeof(*client->waiting));
		if (client->waiting && control_parse(&call->words, client->waiting, &err) == 0) {
			client->until_ns = clock_now_ns() + call->timeout_ns;
			return;
		}
		free(client->waiting);
		client->waiting = NULL;
	}
	reply_error(client, "refused", err.text);
}

static void serve(struct control_client *client, const char *text, size_t bytes)
{
	struct control_words words;
	struct control_call call;
	struct errmsg err = {""};
	json_error_t where;
	json_t *request = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
	int error;

	if (!request) {
		errmsg_set(&err, "not JSON: %s", where.text);
		reply_error(client, "usage", err.text);
		return;
	}
	error = request_words(request, &words, &err);
	json_decref(request);
	if (!error)
		error = control_parse(&words, &call, &err);
	if (error)
		reply_error(client, "usage", err.text);
	else
		run(client, &call);
}

/* Length of the first request, with its newline; 0 when it is not whole. */
static size_t request_bytes(const struct control_client *client)
{
	const char *newline = client->in_bytes ? memchr(client->in, '\n', client->in_bytes) : NULL;

	if (newline)
		return (size_t)(newline - client->in) + 1;
	/* The end of what is sent ends a request, too. */
	return client->eof ? client->in_bytes : 0;
}

bool control_client_has_work(const struct control_client *client)
{
	return !client->out && !client->waiting && !client->closing && request_bytes(client) > 0;
}

static bool is_blank(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (!strchr(" \t\r\n", text[i]) || !text[i])
			return false;
	return true;
}

static void serve_first(struct control_client *client)
{
	size_t bytes = request_bytes(client);

	if (!is_blank(client->in, bytes))
		serve(client, client->in, bytes);
	memmove(client->in, client->in + bytes, client->in_bytes - bytes);
	client->in_bytes -= bytes;
}

/* Return: false when the peer is gone */
static bool flush(struct control_client *client)
{
	while (client->out) {
		ssize_t n = send(client->fd, client->out + client->out_at,
				 client->out_bytes - client->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		client->out_at += (size_t)n;
		client->active_ns = clock_now_ns();
		if (client->out_at == client->out_bytes) {
			free(client->out);
			client->out = NULL;
		}
	}
	return true;
}

static bool make_room(struct control_client *client)
{
	size_t room = client->in_room ? 2 * client->in_room : READ_BYTES;
	char *in;

	if (client->in_bytes < client->in_room)
		return true;
	in = realloc(client->in, room);
	if (!in)
		return false;
	client->in = in;
	client->in_room = room;
	return true;
}

/* Return: false when the peer is gone */
static bool fill(struct control_client *client)
{
	ssize_t n;

	if (!make_room(client))
		return false;
	n = recv(client->fd, client->in + client->in_bytes, client->in_room - client->in_bytes,
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		client->eof = true;
	client->in_bytes += (size_t)n;
	client->active_ns = clock_now_ns();
	return true;
}

/* Serve what is there, then listen for what can go on. Return: false when it is over */
static bool proceed(struct control_client *client)
{
	uint32_t events = 0;

	for (unsigned i = 0; i < REQUESTS_PER_CALL && control_client_has_work(client); i++) {
		serve_first(client);
		if (!flush(client))
			return false;
	}
	if (client->in_bytes >= CONTROL_REQUEST_MAX && !request_bytes(client) && !client->out) {
		reply_error(client, "usage", "a request has at most 65536 bytes");
		client->closing = true;
		if (!flush(client))
			return false;
	}
	if (!client->out &&
	    (client->closing || (client->eof && !client->waiting && !client->in_bytes)))
		return false;
	if (client->out)
		events = EPOLLOUT;
	else if (!client->eof && !client->waiting && client->in_bytes < CONTROL_REQUEST_MAX)
		events = EPOLLIN;
	return sd_event_source_set_io_events(client->io, events) >= 0;
}

bool control_client_io(struct control_client *client, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN))
		return false;
	if (client->out && !flush(client))
		return false;
	if ((events & EPOLLIN) && !client->out && !client->waiting && !fill(client))
		return false;
	return proceed(client);
}

bool control_client_poll(struct control_client *client, uint64_t now_ns)
{
	struct errmsg err = {""}, late;
	json_t *result = NULL;
	int error;

	if (client->waiting) {
		error = control_run(client->control, client->waiting, &result, &err);
		if (error == -EAGAIN && now_ns < client->until_ns)
			return true;
		if (!error) {
			reply_ok(client, result);
		} else if (error == -EAGAIN) {
			errmsg_set(&late, "%.300s; waited %llu ms", err.text,
				   (unsigned long long)(client->waiting->timeout_ns / NS_PER_MS));
			reply_error(client, "refused", late.text);
		} else {
			reply_error(client, "refused", err.text);
		}
		free(client->waiting);
		client->waiting = NULL;
		if (!flush(client))
			return false;
	}
	return proceed(client);
}
