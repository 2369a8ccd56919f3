/* SPDX-License-Identifier: BSD-2-Clause */
/* The opener: a small privileged process that opens sockets and devices for the switch.
 *
 * It is forked before the switch drops its rights and before any thread exists; fds come back over
 * a socket pair. When the switch has no rights to drop, the opener has none either. One request at
 * a time, main thread only, each answered within a bounded time.
 */
#ifndef CONTROL_OPENER_H
#define CONTROL_OPENER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/errmsg.h"

struct opener;

int opener_start(struct opener **ret_opener);
void opener_stop(struct opener *o);

/**
 * opener_listen() - A listening unix stream socket at @path
 * @mode: permission bits of the socket; @uid, @gid: its owner, -1: unchanged
 *
 * A stale socket (nobody listens) is replaced; else the error names the process that listens.
 *
 * Return: fd, or negative errno with @err set
 */
int opener_listen(struct opener *o, const char *path, unsigned mode, int uid, int gid,
		  struct errmsg *err);

/**
 * opener_connect() - Connect to a unix stream socket; does not wait for a full backlog
 */
int opener_connect(struct opener *o, const char *path, struct errmsg *err);

/**
 * opener_unlink() - Remove a socket that opener_listen() made
 */
void opener_unlink(struct opener *o, const char *path);

/**
 * opener_tap() - Attach to tap @ifname with @queue_count queues, with IFF_VNET_HDR, a 12-byte
 * header and offloads; created when it does not exist; put into @bridge unless NULL; set up
 * @ret_fds: @queue_count fds
 */
int opener_tap(struct opener *o, const char *ifname, unsigned queue_count, const char *bridge,
	       int *ret_fds, struct errmsg *err);

#endif
