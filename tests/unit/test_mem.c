/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory tables: what is refused, what is shared, what a truncation does, what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/mem.h"

#define KIB    1024ull
#define MIB    (KIB * KIB)
#define GPA(x) ((gpa){x})

static struct errmsg err;

static int memory_fd(uint64_t bytes)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* As memory_fd(), but nobody can seal it: the file may shrink under us. */
static int unsealable_fd(uint64_t bytes)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static int table_of(const struct mem_region_config *config, int fd, uint32_t count,
		    struct mem_table **ret_table)
{
	int fds[MEM_REGIONS_MAX + 1] = {0};

	for (uint32_t i = 0; i < count; i++)
		fds[i] = fd;
	return mem_table_new(NULL, config, fds, count, 0, ret_table, &err);
}

static void refused(struct mem_region_config config, uint64_t file_bytes)
{
	struct mem_table *table = NULL;
	int fd = memory_fd(file_bytes);

	err.text[0] = '\0';
	assert_true(table_of(&config, fd, 1, &table) < 0);
	assert_true(err.text[0] != '\0');
	assert_null(table);
	assert_int_equal(mem_regions_mapped(), 0);
	close(fd);
}

static void no_region_is_a_table(void **state) /* case 33 */
{
	struct mem_cache cache = {0};
	struct mem_table *table;

	(void)state;
	assert_int_equal(table_of(NULL, -1, 0, &table), 0);
	assert_null(mem_translate(table, &cache, GPA(0), 1));
	assert_null(mem_user_to_host(table, 0, 1));
	assert_false(mem_table_is_broken(table));
	mem_table_put(table);
}

static void addresses_that_cannot_be(void **state) /* cases 36, 37 */
{
	const uint64_t top = UINT64_MAX - 4095;

	(void)state;
	refused((struct mem_region_config){.bytes = 0}, MIB);
	refused((struct mem_region_config){.bytes = UINT64_MAX}, MIB);
	refused((struct mem_region_config){.guest = top, .bytes = 8192}, MIB);
	refused((struct mem_region_config){.user = top, .bytes = 8192}, MIB);
	refused((struct mem_region_config){.offset = top, .bytes = 8192}, MIB);
	refused((struct mem_region_config){.offset = INT64_MAX - 4095, .bytes = 8192}, MIB);
}

static void files_that_are_too_short(void **state) /* cases 38, 39 */
{
	(void)state;
	refused((struct mem_region_config){.offset = 2 * MIB, .bytes = 4096}, MIB);
	refused((struct mem_region_config){.offset = MIB - 4096, .bytes = 4097}, MIB);
	refused((struct mem_region_config){.bytes = MIB + 1}, MIB);
	refused((struct mem_region_config){.bytes = 1}, 0);
}

static void overlaps(void **state) /* cases 40, 41 */
{
	const struct mem_region_config guest[] = {
		{.guest = 0, .user = 0, .bytes = MIB},
		{.guest = MIB - 1, .user = 8 * MIB, .bytes = MIB},
	};
	const struct mem_region_config user[] = {
		{.guest = 0, .user = 4 * MIB, .bytes = MIB},
		{.guest = 8 * MIB, .user = 3 * MIB + 1, .bytes = MIB},
	};
	struct mem_table *table, *more;
	int fd = memory_fd(MIB);

	(void)state;
	assert_int_equal(table_of(guest, fd, 2, &table), -EINVAL);
	assert_int_equal(table_of(user, fd, 2, &table), -EINVAL);
	assert_int_equal(table_of(guest, fd, 1, &table), 0);
	assert_int_equal(mem_table_add(table, &guest[1], fd, 0, &more, &err), -EINVAL);
	assert_int_equal(mem_table_add(table, &guest[0], fd, 0, &more, &err), -EINVAL);
	mem_table_put(table);
	close(fd);
}

static void too_many_regions_or_bytes(void **state) /* case 34 */
{
	struct mem_region_config config[MEM_REGIONS_MAX + 1];
	int fds[MEM_REGIONS_MAX + 1];
	struct mem_table *table, *more;
	int fd = memory_fd(MIB);

	(void)state;
	for (uint32_t i = 0; i <= MEM_REGIONS_MAX; i++) {
		config[i] =
			(struct mem_region_config){.guest = i * MIB, .user = i * MIB, .bytes = MIB};
		fds[i] = fd;
	}
	assert_int_equal(table_of(config, fd, MEM_REGIONS_MAX + 1, &table), -EINVAL);
	assert_int_equal(mem_regions_mapped(), 0);
	assert_int_equal(table_of(config, fd, MEM_REGIONS_MAX, &table), 0);
	assert_int_equal(mem_regions_mapped(), MEM_REGIONS_MAX);
	assert_int_equal(mem_table_add(table, &config[MEM_REGIONS_MAX], fd, 0, &more, &err),
			 -EINVAL);
	mem_table_put(table);
	assert_int_equal(mem_table_new(NULL, config, fds, 3, 3 * MIB - 1, &table, &err), -EINVAL);
	assert_int_equal(mem_table_new(NULL, config, fds, 3, 3 * MIB, &table, &err), 0);
	assert_int_equal(mem_bytes_mapped(), 3 * MIB);
	mem_table_put(table);
	close(fd);
}

static void read_only_file(void **state) /* case 43 */
{
	const struct mem_region_config config = {.bytes = MIB};
	struct mem_table *table;
	int fd = memory_fd(MIB), read_fd;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_fd >= 0);
	assert_int_equal(table_of(&config, read_fd, 1, &table), -EINVAL);
	close(read_fd);
	close(fd);
}

/* Accepted, said, and nothing can be reached through it; its neighbour can. */
static void files_of_other_kinds_stay_unmapped(void **state) /* case 44 */
{
	const struct mem_region_config config[] = {
		{.guest = 0, .user = 0x10000000, .bytes = 4096},
		{.guest = 4096, .user = 0x10001000, .bytes = 4096},
	};
	struct mem_cache cache = {0};
	struct mem_table *table;
	int pair[2], fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fds[0] = pair[0];
	fds[1] = memory_fd(4096);
	assert_int_equal(mem_table_new(NULL, config, fds, 2, 0, &table, &err), 0);
	assert_non_null(strstr(err.text, "unmapped"));
	assert_null(mem_translate(table, &cache, GPA(0), 1));
	assert_null(mem_translate(table, &cache, GPA(4095), 2));
	assert_null(mem_user_to_host(table, 0x10000000, 16));
	assert_non_null(mem_translate(table, &cache, GPA(4096), 4096));
	assert_int_equal(mem_regions_mapped(), 1);
	mem_table_put(table);
	fds[0] = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	assert_true(fds[0] >= 0);
	assert_int_equal(mem_table_new(NULL, config, fds, 2, 0, &table, &err), 0);
	assert_null(table->regions[0]->host);
	mem_table_put(table);
	close(fds[0]);
	close(fds[1]);
	close(pair[0]);
	close(pair[1]);
}

/* Two regions of one file, told out of order: what is written by one address is read by another. */
static void two_regions_of_one_file(void **state) /* case 42 */
{
	const struct mem_region_config config[] = {
		{.guest = 1ull << 32, .user = 64 * MIB, .bytes = MIB, .offset = MIB},
		{.guest = 0, .user = 0, .bytes = MIB},
		{.guest = 1ull << 40, .user = 128 * MIB, .bytes = 2 * MIB},
	};
	struct mem_cache cache = {0};
	struct mem_table *table;
	int fd = memory_fd(2 * MIB);
	uint8_t *low, *high, *alias;

	(void)state;
	assert_int_equal(table_of(config, fd, 3, &table), 0);
	low = mem_translate(table, &cache, GPA(0), 16);
	high = mem_translate(table, &cache, GPA(1ull << 32), 16);
	alias = mem_translate(table, &cache, GPA((1ull << 40) + MIB), 16);
	assert_non_null(low);
	assert_non_null(high);
	assert_non_null(alias);
	memset(high, 7, 16);
	assert_memory_equal(high, alias, 16);
	assert_int_equal(low[0], 0);
	assert_ptr_equal(mem_user_to_host(table, 64 * MIB, 16), high);
	mem_table_put(table);
	close(fd);
}

static void translation_respects_borders(void **state)
{
	const struct mem_region_config config[] = {
		{.guest = 4096, .user = 0x7f0000001000, .bytes = 8192},
		{.guest = 12288, .user = 0x100000000, .bytes = 4096},
	};
	struct mem_cache cache = {0};
	struct mem_table *table;
	int fd = memory_fd(8192);
	uint32_t part = 0;
	uint8_t *host;

	(void)state;
	assert_int_equal(table_of(config, fd, 2, &table), 0);
	host = mem_translate(table, &cache, GPA(4096), 8192);
	assert_non_null(host);
	assert_ptr_equal(mem_translate(table, &cache, GPA(12287), 1), host + 8191);
	assert_null(mem_translate(table, &cache, GPA(4096), 8193));
	assert_null(mem_translate(table, &cache, GPA(12287), 2));
	assert_null(mem_translate(table, &cache, GPA(4095), 1));
	assert_null(mem_translate(table, &cache, GPA(16384), 1));
	assert_null(mem_translate(table, &cache, GPA(UINT64_MAX), 1));
	assert_null(mem_translate(table, &cache, GPA(UINT64_MAX - 2), UINT32_MAX));
	assert_null(mem_translate(table, &cache, GPA(8192), UINT32_MAX));

	assert_ptr_equal(mem_translate_part(table, &cache, GPA(12280), 100, &part), host + 8184);
	assert_int_equal(part, 8);
	assert_non_null(mem_translate_part(table, &cache, GPA(12288), 92, &part));
	assert_int_equal(part, 92);
	part = 77;
	assert_null(mem_translate_part(table, &cache, GPA(16384), 1, &part));
	assert_int_equal(part, 77);

	assert_ptr_equal(mem_user_to_host(table, 0x7f0000001000, 8192), host);
	assert_null(mem_user_to_host(table, 0x7f0000001000, 8193));
	assert_null(mem_user_to_host(table, 0x7f0000000fff, 1));
	assert_null(mem_user_to_host(table, 0x7f0000001001, UINT64_MAX));
	mem_table_put(table);
	close(fd);
}

static void odd_offsets_map_only_what_is_needed(void **state)
{
	const struct mem_region_config config = {
		.guest = 4096, .user = 0, .bytes = 5000, .offset = 3 * MIB + 100};
	struct mem_cache cache = {0};
	struct mem_table *table;
	int fd = memory_fd(4 * MIB);
	uint8_t byte = 42;

	(void)state;
	assert_int_equal(pwrite(fd, &byte, 1, 3 * MIB + 100), 1);
	assert_int_equal(table_of(&config, fd, 1, &table), 0);
	assert_true(table->regions[0]->map_bytes <= 3 * 4096);
	assert_int_equal(*mem_translate(table, &cache, GPA(4096), 5000), 42);
	mem_table_put(table);
	close(fd);
}

/* A table sent again keeps every mapping; a changed one keeps those that stay. */
static void same_regions_keep_their_mapping(void **state)
{
	struct mem_region_config config[] = {
		{.guest = 0, .user = 0, .bytes = MIB},
		{.guest = MIB, .user = MIB, .bytes = MIB, .offset = MIB},
	};
	int fd = memory_fd(3 * MIB), other_fd = memory_fd(3 * MIB);
	int fds[2] = {dup(fd), fd}, others[2] = {fd, other_fd};
	struct mem_table *first, *again, *changed;

	(void)state;
	assert_int_equal(table_of(config, fd, 2, &first), 0);
	assert_int_equal(mem_table_new(first, config, fds, 2, 0, &again, &err), 0);
	assert_ptr_equal(again->regions[0], first->regions[0]);
	assert_ptr_equal(again->regions[1], first->regions[1]);
	assert_int_equal(mem_regions_mapped(), 2);
	mem_table_put(first);
	assert_int_equal(mem_regions_mapped(), 2);
	assert_int_equal(mem_table_new(again, config, others, 2, 0, &changed, &err), 0);
	assert_ptr_equal(changed->regions[0], again->regions[0]);
	assert_ptr_not_equal(changed->regions[1], again->regions[1]);
	mem_table_put(again);
	config[0].offset = 2 * MIB;
	assert_int_equal(mem_table_new(changed, config, others, 2, 0, &again, &err), 0);
	assert_ptr_not_equal(changed->regions[0], again->regions[0]);
	mem_table_put(changed);
	mem_table_put(again);
	assert_int_equal(mem_regions_mapped(), 0);
	close(fds[0]);
	close(fd);
	close(other_fd);
}

static void add_remove_and_pins(void **state) /* cases 51, 53 */
{
	const struct mem_region_config config = {.guest = MIB, .user = 5 * MIB, .bytes = MIB};
	struct mem_region_config wrong = config;
	struct mem_table *table, *empty, *gone = NULL;
	int fd = memory_fd(MIB);
	struct mem_region *region;

	(void)state;
	for (int round = 0; round < 1000; round++) {
		assert_int_equal(mem_table_add(NULL, &config, fd, 0, &table, &err), 0);
		wrong.bytes = MIB - 1;
		assert_int_equal(mem_table_remove(table, &wrong, &gone), -ENOENT);
		wrong = config;
		wrong.user++;
		assert_int_equal(mem_table_remove(table, &wrong, &gone), -ENOENT);
		assert_int_equal(mem_table_remove(NULL, &config, &gone), -ENOENT);
		assert_null(gone);
		region = table->regions[0];
		mem_region_pin(region); /* a lent buffer */
		assert_int_equal(mem_table_remove(table, &config, &empty), 0);
		assert_int_equal(empty->count, 0);
		mem_table_put(table);
		assert_int_equal(mem_regions_mapped(), 1); /* L11 */
		region->host[MIB - 1] = 1;
		mem_region_unpin(region);
		assert_int_equal(mem_regions_mapped(), 0);
		mem_table_put(empty);
	}
	close(fd);
}

static void seals_against_shrinking(void **state) /* case 45 */
{
	const struct mem_region_config config = {.bytes = MIB};
	struct mem_table *table;
	int fd = memory_fd(MIB);

	(void)state;
	assert_int_equal(table_of(&config, fd, 1, &table), 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK, F_SEAL_SHRINK);
	assert_int_equal(ftruncate(fd, 0), -1);
	mem_table_put(table);
	close(fd);
}

static void *touch_all(void *arg)
{
	struct mem_table *table = arg;
	static __thread uint8_t buffer[MIB];

	mem_copy(buffer, table->regions[0]->host, MIB);
	return NULL;
}

/* Truncated while mapped: the toucher lives on and reads zeros, only this table is broken. */
static void truncation_breaks_only_its_region(void **state) /* case 46 */
{
	const struct mem_region_config config = {.bytes = MIB};
	struct mem_table *table, *bystander, *again;
	int fd = unsealable_fd(MIB), other_fd = memory_fd(MIB);
	static uint8_t buffer[MIB];
	pthread_t threads[2];
	int fds[1] = {fd};

	(void)state;
	assert_int_equal(mem_init(),
			 0); /* here: cmocka's own handler stands in front of each test */
	assert_int_equal(table_of(&config, fd, 1, &table), 0);
	assert_int_equal(table_of(&config, other_fd, 1, &bystander), 0);
	memset(table->regions[0]->host, 0x5a, MIB);
	memset(bystander->regions[0]->host, 0x5a, MIB);
	assert_int_equal(ftruncate(fd, 4096), 0);
	mem_copy(buffer, table->regions[0]->host, 4096);
	assert_int_equal(buffer[4095], 0x5a);
	assert_false(mem_table_is_broken(table));
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, touch_all, table), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_true(mem_table_is_broken(table));
	assert_false(mem_table_is_broken(bystander));
	mem_copy(buffer, table->regions[0]->host, MIB);
	for (size_t i = 0; i < MIB; i++)
		assert_int_equal(buffer[i], 0);
	memset(table->regions[0]->host, 1, MIB); /* stores go nowhere */
	assert_int_equal(*bystander->regions[0]->host, 0x5a);

	/* the same file sent again, whole once more, gets a mapping of its own */
	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_int_equal(mem_table_new(table, &config, fds, 1, 0, &again, &err), 0);
	assert_false(mem_table_is_broken(again));
	mem_table_put(again);
	mem_table_put(table);
	mem_table_put(bystander);
	close(fd);
	close(other_fd);
}

/* In a child of our own: a fault outside of guest memory still kills, a sent signal too. */
static void foreign_faults_are_fatal(void **state)
{
	(void)state;
	assert_int_equal(mem_init(), 0);
	for (int sent = 0; sent < 2; sent++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			int fd = unsealable_fd(4096);
			volatile uint8_t *page =
				mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

			if (sent)
				kill(getpid(), SIGBUS);
			else if (ftruncate(fd, 0) == 0)
				page[0] = 1;
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGBUS);
	}
}

static void children_do_not_inherit_guests(void **state)
{
	const struct mem_region_config config = {.bytes = MIB};
	struct mem_table *table;
	int fd = memory_fd(MIB), status;
	pid_t pid;

	(void)state;
	assert_int_equal(table_of(&config, fd, 1, &table), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		unsigned char there;

		_exit(mincore(table->regions[0]->map, 4096, &there) < 0 ? 7 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	mem_table_put(table);
	close(fd);
}

static void table_over_our_own_memory(void **state)
{
	static uint8_t memory[8192];
	struct mem_cache cache = {0};
	struct mem_table *table;

	(void)state;
	assert_int_equal(mem_table_from_memory(memory, 1ull << 33, sizeof(memory), &table), 0);
	assert_ptr_equal(mem_translate(table, &cache, GPA((1ull << 33) + 5), 10), memory + 5);
	assert_ptr_equal(mem_user_to_host(table, (1ull << 33) + 8, 8184), memory + 8);
	mem_table_put(mem_table_get(table));
	mem_table_put(table);
	mem_table_put(NULL);
}

static void clamp_lets_through_what_is_below(void **state)
{
	(void)state;
	assert_int_equal(mem_clamp(0, 1), 0);
	assert_int_equal(mem_clamp(4095, 4096), 4095);
	assert_int_equal(mem_clamp(4096, 4096), 0);
	assert_int_equal(mem_clamp(1ull << 62, 4096), 0);
	assert_int_equal(mem_clamp((1ull << 46) - 1, 1ull << 46), (1ull << 46) - 1);
}

static int nothing_is_left(void **state)
{
	(void)state;
	return mem_regions_mapped() || mem_bytes_mapped();
}

#define LEAK_TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LEAK_TEST(no_region_is_a_table),
		LEAK_TEST(addresses_that_cannot_be),
		LEAK_TEST(files_that_are_too_short),
		LEAK_TEST(overlaps),
		LEAK_TEST(too_many_regions_or_bytes),
		LEAK_TEST(read_only_file),
		LEAK_TEST(files_of_other_kinds_stay_unmapped),
		LEAK_TEST(two_regions_of_one_file),
		LEAK_TEST(translation_respects_borders),
		LEAK_TEST(odd_offsets_map_only_what_is_needed),
		LEAK_TEST(same_regions_keep_their_mapping),
		LEAK_TEST(add_remove_and_pins),
		LEAK_TEST(seals_against_shrinking),
		LEAK_TEST(truncation_breaks_only_its_region),
		LEAK_TEST(foreign_faults_are_fatal),
		LEAK_TEST(children_do_not_inherit_guests),
		LEAK_TEST(table_over_our_own_memory),
		LEAK_TEST(clamp_lets_through_what_is_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
