/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection of the control socket; socket.c accepts them, client.c serves them. */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"
#include "control/control.h"
#include "control/grammar.h"

/**
 * struct control_client - A connection
 * @in:        bytes that are not served yet; a request at a time
 * @out:       the answer that is being sent, NULL: none. While there is one, nothing is read
 * @eof:       nothing more will come
 * @closing:   closed when the answer is sent
 * @active_ns: when bytes moved last
 * @waiting:   a CONTROL_WAITS command that is asked again and again, NULL: none
 * @until_ns:  and until when
 */
struct control_client {
	struct list node;
	struct control *control;
	int fd;
	sd_event_source *io;
	char *in;
	size_t in_bytes;
	size_t in_room;
	char *out;
	size_t out_bytes;
	size_t out_at;
	bool eof;
	bool closing;
	uint64_t active_ns;
	struct control_call *waiting;
	uint64_t until_ns;
};

/**
 * control_client_new() - Serve @fd, which is taken on success
 * @handler: called with the client as userdata when something can be read or written
 */
int control_client_new(struct control *c, int fd, sd_event_io_handler_t handler,
		       struct control_client **ret_client);
void control_client_free(struct control_client *client);

/**
 * control_client_io() - Read and write what can be, serve requests
 * control_client_poll() - Ask again for what a client waits for
 *
 * Return: false when the connection is over: free it
 */
bool control_client_io(struct control_client *client, uint32_t events);
bool control_client_poll(struct control_client *client, uint64_t now_ns);

/**
 * control_client_has_work() - A whole request is there that nothing keeps from being served
 */
bool control_client_has_work(const struct control_client *client);

#endif
