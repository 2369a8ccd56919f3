/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena of the hostile tests. See arena.h. */
#include "arena.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#define POLITE_BURST 8
#define POLITE_BYTES 600
/* Not 100 ms, which is the aim: see fair_clock_ns(). */
#define STALL_NS      ((int64_t)NS_PER_S)
#define HEAL_NS	      ((int64_t)NS_PER_S)
#define HEALED_FRAMES 32
/* Not measures but ends of patience, with many others on the machine and sanitizers inside. */
#define PATIENCE_NS    (10 * NS_PER_S)
#define SANITIZER_EXIT 99
#define PAUSE_NS       (200 * NS_PER_US)

static void pause_ns(uint64_t ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};

	nanosleep(&t, NULL);
}

static unsigned fds_of(pid_t pid)
{
	unsigned count = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	ASSERT(dir); /* the switch is gone */
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Time a thread was ready to run and had no processor, by its schedstat. */
static int64_t waited_ns(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[128] = "";
	int64_t waited = 0;
	char *second;

	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) && (second = strchr(line, ' ')))
		waited = strtoll(second, NULL, 10);
	fclose(f);
	return waited;
}

/* The clock without what the machine did to us or to the switch by running somebody else: on two
 * processors with a dozen others, a thread may wait for a second. Differences may be negative,
 * when several waited at once; a switch that sleeps or spins where it should not is seen all the
 * same. */
static int64_t fair_clock_ns(const struct arena *a)
{
	int64_t ns = (int64_t)clock_now_ns() - waited_ns("/proc/thread-self/schedstat");
	const struct dirent *entry;
	char path[400];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)a->switch_pid);
	dir = opendir(path);
	ASSERT(dir); /* the switch is gone */
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)a->switch_pid,
			 entry->d_name);
		ns -= waited_ns(path);
	}
	closedir(dir);
	return ns;
}

/* The polite pair */

static uint64_t polite_turn(struct guest *from, struct guest *to)
{
	uint64_t before = to->stats.received, begin_ns = clock_now_ns();

	for (unsigned i = 0; i < POLITE_BURST; i++)
		guest_send_frame(from, 0, to->options.number, POLITE_BYTES);
	guest_flush(from);
	while (clock_now_ns() - begin_ns < PATIENCE_NS) {
		guest_poll(from, 64);
		guest_poll(to, 64);
		if (to->stats.received >= before + POLITE_BURST)
			break;
		pause_ns(PAUSE_NS / 4);
	}
	return to->stats.received - before;
}

/* Frames that were not what they should be; none is forgiven. */
static uint64_t wrong_frames(const struct guest *g)
{
	const struct guest_stats *s = &g->stats;

	return s->bad + s->poisoned + s->lost + s->duplicated + s->reordered;
}

static void *polite_run(void *arg)
{
	struct arena *a = arg;

	while (!atomic_load(&a->stop)) {
		int64_t gap_ns, begin_ns = fair_clock_ns(a);
		uint64_t got;

		got = polite_turn(&a->polite[0], &a->polite[1]);
		got += polite_turn(&a->polite[1], &a->polite[0]);
		gap_ns = fair_clock_ns(a) - begin_ns;
		atomic_fetch_add(&a->received, got);
		atomic_store(&a->wrong, wrong_frames(&a->polite[0]) + wrong_frames(&a->polite[1]));
		if (gap_ns > atomic_load(&a->longest_gap_ns))
			atomic_store(&a->longest_gap_ns, gap_ns);
		pause_ns(PAUSE_NS);
	}
	return NULL;
}

static void polite_open(struct arena *a, unsigned index)
{
	struct guest_options options = {.number = (uint16_t)(index + 1), .poison = true};
	struct guest *g = &a->polite[index];
	char path[128];

	snprintf(path, sizeof(path), "%s/p%u", a->folder, index);
	options.path = path;
	if (guest_open(g, &options) || guest_start(g)) {
		fprintf(stderr, "polite guest: %s\n", g->err.text);
		abort();
	}
}

/* The switch */

/* What a sanitizer finds in the switch ends it with a status that is not 0, whatever else the
 * environment asks of sanitizers; behind the other options, so that it counts. */
static void sanitizer_must_fail(const char *variable)
{
	const char *before = getenv(variable);
	char options[512];

	snprintf(options, sizeof(options), "%s:exitcode=%d:halt_on_error=1", before ? before : "",
		 SANITIZER_EXIT);
	setenv(variable, options, 1);
}

static void exec_switch(struct arena *a, int out)
{
	char control[100], ports[3][160];
	static const char *const names[] = {"p0", "p1", "v"};
	const char *binary = getenv("LASTREF");

	ASSERT(binary); /* meson sets it */

	snprintf(control, sizeof(control), "%s/control", a->folder);
	for (unsigned i = 0; i < 3; i++)
		snprintf(ports[i], sizeof(ports[i]), "port add %s vm socket %s/%s", names[i],
			 a->folder, names[i]);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no switch behind */
	sanitizer_must_fail("ASAN_OPTIONS");
	sanitizer_must_fail("UBSAN_OPTIONS");
	sanitizer_must_fail("TSAN_OPTIONS");
	sanitizer_must_fail("LSAN_OPTIONS");
	ASSERT(dup2(out, STDOUT_FILENO) == STDOUT_FILENO);
	execl(binary, binary, "switch", "--control", control, ports[0], ports[1], ports[2],
	      (char *)NULL);
	perror(binary ? binary : "LASTREF is not set");
	_exit(127);
}

static void wait_ready(int fd)
{
	char text[64] = "";
	size_t at = 0;
	ssize_t n;

	while (!strstr(text, "ready")) {
		n = read(fd, text + at, sizeof(text) - 1 - at);
		ASSERT(n > 0);
		at += (size_t)n;
	}
}

void arena_open(struct arena *a)
{
	int out[2];

	memset(a, 0, sizeof(*a));
	snprintf(a->folder, sizeof(a->folder), "/tmp/lastref-hostile.XXXXXX");
	ASSERT(mkdtemp(a->folder));
	snprintf(a->socket, sizeof(a->socket), "%s/v", a->folder);
	ASSERT(pipe(out) == 0);
	a->switch_pid = fork();
	ASSERT(a->switch_pid >= 0);
	if (a->switch_pid == 0)
		exec_switch(a, out[1]);
	close(out[1]);
	wait_ready(out[0]);
	close(out[0]);
	polite_open(a, 0);
	polite_open(a, 1);
	polite_turn(&a->polite[1], &a->polite[0]); /* learn */
	a->fds = fds_of(a->switch_pid);
	ASSERT(pthread_create(&a->thread, NULL, polite_run, a) == 0);
}

/* Leaks are told of at the exit only, by its status. */
static void check_exit(int status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "the switch was ended by signal %d\n", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		fprintf(stderr, "the switch exited with %d%s\n", WEXITSTATUS(status),
			WEXITSTATUS(status) == SANITIZER_EXIT ? ": a sanitizer's report" : "");
	ASSERT(WIFEXITED(status));
	ASSERT(WEXITSTATUS(status) == 0);
}

void arena_close(struct arena *a)
{
	uint64_t begin_ns = clock_now_ns();
	int status = 0;

	atomic_store(&a->stop, true);
	pthread_join(a->thread, NULL);
	for (unsigned i = 0; i < 2; i++) {
		ASSERT(guest_stop(&a->polite[i]) == 0);
		ASSERT(guest_fault(&a->polite[i]) == NULL);
		ASSERT(a->polite[i].stats.returned == a->polite[i].stats.sent);
		guest_close(&a->polite[i]);
	}
	kill(a->switch_pid, SIGTERM);
	ASSERT(waitpid(a->switch_pid, &status, 0) == a->switch_pid);
	check_exit(status);
	ASSERT(clock_now_ns() - begin_ns < PATIENCE_NS);
	ASSERT(rmdir(a->folder) == 0); /* the switch has left nothing in it */
}

/* Looking at v */

/* A connection to the control socket. */
static int control_connect(const struct arena *a)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT(fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", a->folder);
	ASSERT(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

json_t *arena_port(struct arena *a)
{
	static const char request[] = "{\"cmd\": [\"port\", \"show\", \"v\"]}\n";
	int fd = control_connect(a);
	json_t *answer, *port;

	ASSERT(write(fd, request, sizeof(request) - 1) == (ssize_t)sizeof(request) - 1);
	answer = json_loadfd(fd, JSON_DISABLE_EOF_CHECK, NULL);
	close(fd);
	port = json_array_get(json_object_get(answer, "ok"), 0);
	ASSERT(port);
	json_incref(port);
	json_decref(answer);
	return port;
}

bool arena_wait_state(struct arena *a, const char *state)
{
	char seen[32] = "";

	for (unsigned tries = 0; tries < 100; tries++) {
		json_t *port = arena_port(a);
		bool same;

		snprintf(seen, sizeof(seen), "%s",
			 json_string_value(json_object_get(port, "state")));
		same = strcmp(seen, state) == 0;
		json_decref(port);
		if (same)
			return true;
		pause_ns(20 * NS_PER_MS);
	}
	fprintf(stderr, "port v is %s, not %s\n", seen, state);
	return false;
}

long arena_drops(struct arena *a, const char *reason)
{
	json_t *port = arena_port(a);
	long count =
		(long)json_integer_value(json_object_get(json_object_get(port, "drops"), reason));

	json_decref(port);
	return count;
}

void arena_attacker(struct arena *a, struct guest *g, uint64_t features)
{
	arena_attacker_in(a, g, features, (struct guest_memory_options){0});
}

void arena_attacker_in(struct arena *a, struct guest *g, uint64_t features,
		       struct guest_memory_options memory)
{
	struct guest_options options = {
		.path = a->socket,
		.number = ARENA_VICTIM,
		.features = features,
		.memory = memory,
	};

	memset(g, 0, sizeof(*g));
	if (guest_open(g, &options) || guest_start(g)) {
		fprintf(stderr, "guest at v: %s\n", g->err.text);
		abort();
	}
}

/* A new guest at v is served like any other, within a second. */
static void check_healed(struct arena *a)
{
	int64_t begin_ns = fair_clock_ns(a);
	struct guest g;

	arena_attacker(a, &g, 0);
	for (unsigned i = 0; i < HEALED_FRAMES; i++)
		ASSERT(guest_send_frame(&g, 0, ARENA_NOBODY, 200) == 0);
	guest_flush(&g);
	while (g.stats.returned < HEALED_FRAMES) {
		guest_poll(&g, 64);
		ASSERT(fair_clock_ns(a) - begin_ns < HEAL_NS);
		pause_ns(PAUSE_NS);
	}
	ASSERT(arena_wait_state(a, "running"));
	ASSERT(guest_stop(&g) == 0);
	ASSERT(guest_fault(&g) == NULL);
	guest_close(&g);
	ASSERT(arena_wait_state(a, "waiting"));
}

static void check_polite(struct arena *a)
{
	uint64_t before = atomic_load(&a->received), begin_ns = clock_now_ns();

	while (atomic_load(&a->received) < before + 64 && clock_now_ns() - begin_ns < PATIENCE_NS)
		pause_ns(5 * NS_PER_MS);
	if (atomic_load(&a->received) < before + 64 || atomic_load(&a->wrong) ||
	    atomic_load(&a->longest_gap_ns) >= STALL_NS) {
		fprintf(stderr,
			"polite pair: %llu frames of 64 in %llu ms, %llu wrong, longest turn %llu "
			"ms\n",
			(unsigned long long)(atomic_load(&a->received) - before),
			(unsigned long long)((clock_now_ns() - begin_ns) / NS_PER_MS),
			(unsigned long long)atomic_load(&a->wrong),
			(unsigned long long)(atomic_load(&a->longest_gap_ns) / NS_PER_MS));
		abort();
	}
}

void arena_check(struct arena *a)
{
	uint64_t begin_ns;
	int status = 0;

	if (waitpid(a->switch_pid, &status, WNOHANG))
		check_exit(status);
	ASSERT(kill(a->switch_pid, 0) == 0);
	check_healed(a);
	begin_ns = clock_now_ns();
	while (fds_of(a->switch_pid) != a->fds) {
		ASSERT(clock_now_ns() - begin_ns < PATIENCE_NS);
		pause_ns(5 * NS_PER_MS);
	}
	check_polite(a);
}
