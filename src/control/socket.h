/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: commands in, answers out, one JSON object a line each way.
 *
 *   {"cmd": ["port", "show", "a"]}  ->  {"ok": [...]}   or   {"error": "one line", "kind":
 * "refused"}
 *
 * "cmd" may also be one string, which is split as a line of a configuration is. "kind" is "usage"
 * when the command itself is wrong, "refused" when the switch could not do it.
 */
#ifndef CONTROL_SOCKET_H
#define CONTROL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errmsg.h"
#include "control/control.h"

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_REQUEST_MAX (64u << 10) /* bytes of a request, with its newline */
#define CONTROL_PATH_BYTES  108

/**
 * control_default_path() - Where the socket is when nobody says: /run/lastref/control.sock for
 * root, else lastref/control.sock under $XDG_RUNTIME_DIR
 * @make_folder: the folder is made when it is not there
 *
 * Return: 0, negative errno with @err set
 */
int control_default_path(bool make_folder, char path[CONTROL_PATH_BYTES], struct errmsg *err);

struct control_server;

/**
 * control_server_new() - Listen at @path; clients are served by @c->env.loop
 *
 * Return: 0, negative errno with @err set
 */
int control_server_new(struct control *c, const char *path, struct control_server **ret_server,
		       struct errmsg *err);

/**
 * control_server_free() - Close every connection, remove the socket. NULL is fine
 */
void control_server_free(struct control_server *s);

#endif
