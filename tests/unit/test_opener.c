/* SPDX-License-Identifier: BSD-2-Clause */
/* The opener: sockets with the right mode and owner, stale ones replaced, others' left alone, taps
 * as asked for, and its end when the switch ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/opener.h"

#define SKIPPED 77

static struct opener *opener;
static struct errmsg err;
static char folder[] = "/tmp/lastref-opener-XXXXXX";
static char path[64];

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000 * 1000}, NULL);
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

static int connect_to(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int bind_to(const char *name, int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/a.sock", folder);
	return opener_start(&opener);
}

static int teardown(void **state)
{
	(void)state;
	opener_stop(opener);
	unlink(path);
	return 0;
}

static void test_listen(void **state)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	struct stat st;
	int fd, client;

	(void)state;
	fd = opener_listen(opener, path, 0642, -1, -1, &err);
	assert_true(fd >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0642);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	client = connect_to(path);
	assert_true(client >= 0);
	/* A client sees the switch at the other end, not the opener. */
	assert_int_equal(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &bytes), 0);
	assert_int_equal(peer.pid, getpid());
	close(client);
	close(fd);
	opener_unlink(opener, path);
	assert_false(exists(path));
}

static void test_owner(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	if (geteuid() != 0)
		skip();
	fd = opener_listen(opener, path, 0660, 65534, 65533, &err);
	assert_true(fd >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_gid, 65533);
	assert_int_equal(st.st_mode & 0777, 0660);
	close(fd);
}

static void test_stale_is_replaced(void **state)
{
	int fd;

	(void)state;
	close(bind_to(path, SOCK_STREAM));
	assert_true(exists(path));
	fd = opener_listen(opener, path, 0600, -1, -1, &err);
	assert_true(fd >= 0);
	close(fd);
}

static void test_live_is_named(void **state)
{
	char expected[200];
	int ready[2];
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (listen(bind_to(path, SOCK_STREAM), 4) == 0 && write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(opener_listen(opener, path, 0600, -1, -1, &err), -EADDRINUSE);
	snprintf(expected, sizeof(expected), "socket %s: another process listens there (pid %d)",
		 path, (int)pid);
	assert_string_equal(err.text, expected);
	assert_true(exists(path));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void test_our_own_is_named(void **state)
{
	int fd = opener_listen(opener, path, 0600, -1, -1, &err);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(opener_listen(opener, path, 0600, -1, -1, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "this switch listens there already"));
	assert_true(exists(path));
	close(fd);
}

static void test_other_things_stay(void **state)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	(void)state;
	close(fd);
	assert_int_equal(opener_listen(opener, path, 0600, -1, -1, &err), -EEXIST);
	assert_non_null(strstr(err.text, "no socket is there"));
	assert_true(exists(path));
	unlink(path);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(opener_listen(opener, path, 0600, -1, -1, &err), -EEXIST);
	assert_true(exists(path));
	unlink(path);
	fd = bind_to(path, SOCK_DGRAM);
	assert_int_equal(opener_listen(opener, path, 0600, -1, -1, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "another kind"));
	assert_true(exists(path));
	close(fd);
}

static void test_bad_paths(void **state)
{
	char name[200];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[0] = '/';
	name[108] = 0;
	assert_int_equal(opener_listen(opener, name, 0600, -1, -1, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "has 108 bytes, a socket's at most 107"));
	assert_int_equal(opener_connect(opener, name, &err), -ENAMETOOLONG);
	assert_int_equal(opener_listen(opener, "", 0600, -1, -1, &err), -EINVAL);
	snprintf(name, sizeof(name), "%s/none/a.sock", folder);
	assert_int_equal(opener_listen(opener, name, 0600, -1, -1, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/none does not exist"));
}

static void test_connect(void **state)
{
	int listener, fd;

	(void)state;
	assert_int_equal(opener_connect(opener, path, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	listener = bind_to(path, SOCK_STREAM);
	assert_int_equal(opener_connect(opener, path, &err), -ECONNREFUSED);
	assert_int_equal(listen(listener, 0), 0);
	fd = opener_connect(opener, path, &err);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	/* The backlog is full now: it says so instead of waiting. */
	assert_int_equal(opener_connect(opener, path, &err), -EAGAIN);
	close(fd);
	close(listener);
}

static void test_unlink_is_careful(void **state)
{
	int fd = opener_listen(opener, path, 0600, -1, -1, &err);
	int other;

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	other = bind_to(path, SOCK_STREAM); /* somebody else's now */
	opener_unlink(opener, path);
	assert_true(exists(path));
	opener_unlink(opener, path);
	assert_true(exists(path));
	close(other);
	close(fd);
}

/* The opener's pid: our first child. Return: 0 when there is none */
static pid_t find_helper(void)
{
	char text[64] = "";
	int fd;

	snprintf(text, sizeof(text), "/proc/%d/task/%d/children", getpid(), getpid());
	fd = open(text, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	close(fd);
	return (pid_t)strtol(text, NULL, 10);
}

/* The process that started the opener is killed: opener and sockets go too. */
static void test_end_with_the_switch(void **state)
{
	int ready[2];
	pid_t pid, helper;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct opener *o;

		if (opener_start(&o) || opener_listen(o, path, 0600, -1, -1, &err) < 0)
			_exit(1);
		helper = find_helper();
		if (write(ready[1], &helper, sizeof(helper)) != sizeof(helper))
			_exit(2);
		pause();
		_exit(3);
	}
	assert_int_equal(read(ready[0], &helper, sizeof(helper)), sizeof(helper));
	assert_true(exists(path));
	kill(helper, SIGTERM); /* such as a terminal's or systemd's: not for it to hear */
	kill(helper, SIGINT);
	pause_ms(20);
	assert_int_equal(kill(helper, 0), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 200 && exists(path); i++)
		pause_ms(10);
	assert_false(exists(path));
	close(ready[0]);
	close(ready[1]);
}

static void test_requests_are_bounded(void **state)
{
	pid_t helper = find_helper();
	uint64_t start_ns = clock_now_ns();
	int fd;

	(void)state;
	kill(helper, SIGSTOP);
	assert_int_equal(opener_connect(opener, path, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "does not answer"));
	assert_true(clock_now_ns() - start_ns < 20 * NS_PER_S);
	kill(helper, SIGCONT);
	/* The late reply is not taken for the next one. */
	fd = opener_listen(opener, path, 0600, -1, -1, &err);
	assert_true(fd >= 0);
	close(fd);
	kill(helper, SIGKILL);
	assert_true(opener_listen(opener, path, 0600, -1, -1, &err) < 0);
	assert_non_null(strstr(err.text, "does not answer"));
}

/* Taps: in a network namespace of our own, in a child. */

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(SKIPPED);
	close(fd);
}

static void enter_namespace(void)
{
	char map[32];

	snprintf(map, sizeof(map), "0 %d 1", (int)geteuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK))
		_exit(SKIPPED);
	write_file("/proc/self/uid_map", map);
}

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #cond, err.text);   \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static int run_child(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		body();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void in_namespace(void (*body)(void))
{
	int status = run_child(body);

	if (status == SKIPPED)
		skip();
	assert_int_equal(status, 0);
}

static void make_tap(const char *name, int flags)
{
	struct ifreq ifr = {0};
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags);
	CHECK(ioctl(fd, TUNSETIFF, &ifr) == 0);
	CHECK(ioctl(fd, TUNSETPERSIST, 1) == 0);
	close(fd);
}

static bool is_up(const char *name)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	CHECK(ioctl(fd, SIOCGIFFLAGS, &ifr) == 0);
	close(fd);
	return ifr.ifr_flags & IFF_UP;
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

static void new_tap_body(void)
{
	struct ifreq ifr = {0};
	int fds[4], bytes;

	enter_namespace();
	CHECK(opener_start(&opener) == 0);
	CHECK(opener_tap(opener, "t0", 3, NULL, fds, &err) == 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		CHECK(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		CHECK(ioctl(fds[i], TUNGETIFF, &ifr) == 0);
		CHECK(ifr.ifr_flags & IFF_VNET_HDR);
		CHECK(ifr.ifr_flags & IFF_NO_PI);
		CHECK(ioctl(fds[i], TUNGETVNETHDRSZ, &bytes) == 0);
		CHECK(bytes == 12);
	}
	CHECK(is_up("t0"));
	close_all(fds, 3);
	for (int i = 0; i < 200 && if_nametoindex("t0"); i++)
		pause_ms(10);
	CHECK(if_nametoindex("t0") == 0); /* not persistent: gone with its fds */
	opener_stop(opener);
}

static void bad_tap_body(void)
{
	int fds[4];

	enter_namespace();
	CHECK(opener_start(&opener) == 0);
	CHECK(opener_tap(opener, "lo", 1, NULL, fds, &err) < 0);
	CHECK(strstr(err.text, "tap lo: ") != NULL);
	CHECK(opener_tap(opener, "", 1, NULL, fds, &err) < 0);
	CHECK(opener_tap(opener, "a%d", 1, NULL, fds, &err) < 0);
	CHECK(opener_tap(opener, "name-of-16-bytes", 1, NULL, fds, &err) < 0);
	CHECK(opener_tap(opener, "t0", 0, NULL, fds, &err) < 0);
	CHECK(opener_tap(opener, "t0", 17, NULL, fds, &err) < 0);
	opener_stop(opener);
}

static void persistent_tap_body(void)
{
	int fds[2], again[2];

	enter_namespace();
	make_tap("single", 0);
	make_tap("multi", IFF_MULTI_QUEUE);
	CHECK(opener_start(&opener) == 0);
	CHECK(opener_tap(opener, "single", 1, NULL, fds, &err) == 0);
	CHECK(opener_tap(opener, "single", 1, NULL, again, &err) == -EBUSY);
	CHECK(strstr(err.text, "another process uses it") != NULL);
	close(fds[0]);
	CHECK(opener_tap(opener, "single", 2, NULL, fds, &err) == -EINVAL);
	CHECK(strstr(err.text, "has a single queue, 2 were asked for") != NULL);
	CHECK(opener_tap(opener, "multi", 2, NULL, fds, &err) == 0);
	close_all(fds, 2);
	CHECK(opener_tap(opener, "multi", 1, NULL, fds, &err) == 0);
	close_all(fds, 1);
	CHECK(if_nametoindex("multi") != 0);
	opener_stop(opener);
}

static void bridge_body(void)
{
	int fds[1];
	int sock;

	enter_namespace();
	sock = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (ioctl(sock, SIOCBRADDBR, "br0") < 0 || ioctl(sock, SIOCBRADDBR, "br1") < 0)
		_exit(SKIPPED);
	make_tap("t0", 0);
	CHECK(opener_start(&opener) == 0);
	CHECK(opener_tap(opener, "t0", 1, "br0", fds, &err) == 0);
	close(fds[0]);
	CHECK(opener_tap(opener, "t0", 1, "br0", fds, &err) == 0); /* is there already */
	close(fds[0]);
	CHECK(opener_tap(opener, "t0", 1, "br1", fds, &err) == -EBUSY);
	CHECK(strstr(err.text, "port of another bridge") != NULL);
	CHECK(opener_tap(opener, "t0", 1, "br9", fds, &err) == -ENODEV);
	CHECK(strstr(err.text, "ip link add br9 type bridge") != NULL);
	CHECK(opener_tap(opener, "t0", 1, "lo", fds, &err) < 0);
	CHECK(strstr(err.text, "bridge lo: ") != NULL);
	opener_stop(opener);
	close(sock);
}

static void no_rights_body(void)
{
	int fds[1];

	if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
		_exit(SKIPPED);
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		_exit(SKIPPED);
	CHECK(opener_start(&opener) == 0);
	CHECK(opener_tap(opener, "lastref-t0", 1, NULL, fds, &err) == -EPERM);
	CHECK(strstr(err.text, "tap lastref-t0: needs CAP_NET_ADMIN; try: ip tuntap add lastref-t0 "
			       "mode tap user ") == err.text);
	opener_stop(opener);
}

static void test_new_tap(void **state)
{
	(void)state;
	in_namespace(new_tap_body);
}

static void test_bad_tap(void **state)
{
	(void)state;
	in_namespace(bad_tap_body);
}

static void test_persistent_tap(void **state)
{
	(void)state;
	in_namespace(persistent_tap_body);
}

static void test_bridge(void **state)
{
	(void)state;
	in_namespace(bridge_body);
}

static void test_no_rights(void **state)
{
	(void)state;
	in_namespace(no_rights_body);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(test_our_own_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_things_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unlink_is_careful, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_with_the_switch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requests_are_bounded, setup, teardown),
		cmocka_unit_test(test_new_tap),
		cmocka_unit_test(test_bad_tap),
		cmocka_unit_test(test_persistent_tap),
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_no_rights),
	};
	int failed;

	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
