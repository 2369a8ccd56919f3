/* SPDX-License-Identifier: BSD-2-Clause */
/* Rights that the switch gives up: user, groups, capabilities, and the way to new ones. */
#include "cmd/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int privileges_find_user(const char *text, struct privileges_user *ret_user, struct errmsg *err)
{
	const struct passwd *pw = getpwnam(text);
	char *end;

	if (!pw && *text >= '0' && *text <= '9') {
		unsigned long uid = strtoul(text, &end, 10);

		if (!*end && uid < (uid_t)-1)
			pw = getpwuid((uid_t)uid);
	}
	if (!pw)
		return errmsg_set(err, "--user '%.64s': there is no such user", text);
	ret_user->uid = pw->pw_uid;
	ret_user->gid = pw->pw_gid;
	snprintf(ret_user->name, sizeof(ret_user->name), "%s", pw->pw_name);
	return 0;
}

static int failed(const char *what, struct errmsg *err)
{
	int error = errno;

	errmsg_set(err, "cannot give up rights: %s: %s", what, strerror(error));
	return -error;
}

static int become(const struct privileges_user *user, struct errmsg *err)
{
	if (geteuid() == user->uid && getegid() == user->gid && geteuid() != 0)
		return 0; /* somebody started us as that user already */
	if (initgroups(user->name, user->gid) < 0)
		return failed("initgroups", err);
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return failed("setgid", err);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return failed("setuid", err);
	return 0;
}

int privileges_drop(const struct privileges_user *user, struct errmsg *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
	int error = user ? become(user, err) : 0;

	if (error)
		return error;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed("no_new_privs", err);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return failed("ambient capabilities", err);
	if (syscall(SYS_capset, &header, none) < 0)
		return failed("capabilities", err);
	return 0;
}
