/* SPDX-License-Identifier: BSD-2-Clause */
/* Rights that the switch gives up before it looks at anything of a guest's. */
#ifndef CMD_PRIVILEGES_H
#define CMD_PRIVILEGES_H

#include <sys/types.h>

#include "base/errmsg.h"

/**
 * struct privileges_user - Who to become
 */
struct privileges_user {
	uid_t uid;
	gid_t gid;
	char name[64];
};

/**
 * privileges_find_user() - By name or number
 *
 * Return: 0, -EINVAL with @err set
 */
int privileges_find_user(const char *text, struct privileges_user *ret_user, struct errmsg *err);

/**
 * privileges_drop() - Become @user (NULL: stay who we are), without capabilities, for ever
 *
 * Before any thread is started: these are a thread's own. Return: 0, negative errno with @err set
 */
int privileges_drop(const struct privileges_user *user, struct errmsg *err);

#endif
