/* SPDX-License-Identifier: BSD-2-Clause */
/* What switch and opener say to each other: one datagram each way, fds beside the reply. */
#ifndef CONTROL_OPENER_PROTOCOL_H
#define CONTROL_OPENER_PROTOCOL_H

#include <net/if.h>
#include <stdint.h>

#include "base/errmsg.h"

#define OPENER_PATH_BYTES 108 /* sizeof sun_path: a path has at most one byte less */
#define OPENER_FDS_MAX	  16
#define OPENER_BACKLOG	  64

enum opener_kind {
	OPENER_LISTEN,
	OPENER_CONNECT,
	OPENER_UNLINK,
	OPENER_TAP,
	OPENER_KIND_COUNT,
};

/**
 * struct opener_request - One thing to open
 * @sequence: comes back in the reply: one that is late is told from the one waited for
 * @bridge:   "" for none
 */
struct opener_request {
	uint32_t sequence;
	uint32_t kind; /* enum opener_kind */
	uint32_t mode;
	int32_t uid;
	int32_t gid;
	uint32_t queue_count;
	char path[OPENER_PATH_BYTES];
	char ifname[IFNAMSIZ];
	char bridge[IFNAMSIZ];
};

/**
 * struct opener_reply - @fd_count fds come with it
 * @result: 0 or negative errno, with @err set
 */
struct opener_reply {
	uint32_t sequence;
	int32_t result;
	uint32_t fd_count;
	struct errmsg err;
};

/**
 * opener_child_run() - The opener process: answer requests until @fd is closed at the other end
 */
_Noreturn void opener_child_run(int fd);

/* What it does for each kind. Return: 0 with @ret_fds filled, or negative errno with @err set. */
int opener_do_listen(const struct opener_request *q, int *ret_fd, struct errmsg *err);
int opener_do_connect(const struct opener_request *q, int *ret_fd, struct errmsg *err);
int opener_do_unlink(const struct opener_request *q, struct errmsg *err);
int opener_do_tap(const struct opener_request *q, int *ret_fds, struct errmsg *err);

/* Removes what opener_do_listen() made and nobody asked to remove. */
void opener_unlink_all(void);

#endif
