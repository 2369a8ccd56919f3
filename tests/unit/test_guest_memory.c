/* SPDX-License-Identifier: BSD-2-Clause */
/* A built-in guest's memory: regions, addresses, blocks, poison. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/memory.h"

static struct errmsg err;

/* What is written through our mapping is in the file, at the offset that is announced. */
static void check_file(const struct guest_region *r)
{
	uint8_t *map = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, r->fd, (off_t)r->offset_bytes);
	struct stat st;

	assert_true(map != MAP_FAILED);
	r->host[77] = 0xa5;
	assert_int_equal(map[77], 0xa5);
	munmap(map, r->bytes);
	assert_int_equal(fstat(r->fd, &st), 0);
	assert_true((uint64_t)st.st_size >= r->offset_bytes + r->bytes);
}

static void split_at_hole(void **state)
{
	struct guest_memory_options o = {
		.bytes = 8 << 20,
		.region_count = 2,
		.hole_bytes = 1ull << 30,
		.uva = 0x7f0000000000,
	};
	struct guest_memory m;

	(void)state;
	assert_int_equal(guest_memory_init(&m, &o, &err), 0);
	assert_int_equal(m.region_count, 2);
	assert_int_equal(m.regions[1].gpa.addr, (4 << 20) + (1ull << 30));
	assert_int_equal(m.regions[1].offset_bytes, 4 << 20);
	check_file(&m.regions[0]);
	check_file(&m.regions[1]);
	assert_ptr_equal(guest_memory_at(&m, (gpa){100}, 50), m.regions[0].host + 100);
	assert_null(guest_memory_at(&m, (gpa){4 << 20}, 1));	   /* in the hole */
	assert_null(guest_memory_at(&m, (gpa){(4 << 20) - 1}, 2)); /* across its border */
	assert_non_null(guest_memory_at(&m, (gpa){(4 << 20) - 1}, 1));
	assert_int_equal(guest_memory_uva(&m, (gpa){5}), 0x7f0000000005);
	assert_int_equal(guest_memory_uva(&m, (gpa){5 << 20}), 0);
	guest_memory_fini(&m);
	guest_memory_fini(&m);
}

static void neighbours_touch(void **state)
{
	struct guest_memory_options o = {.bytes = 1 << 20, .region_count = 4};
	struct guest_memory m;

	(void)state;
	assert_int_equal(guest_memory_init(&m, &o, &err), 0);
	/* One file in one piece: a buffer may lie across the border. */
	assert_ptr_equal(guest_memory_at(&m, (gpa){(1 << 18) - 8}, 16),
			 m.regions[0].host + (1 << 18) - 8);
	assert_non_null(guest_memory_at(&m, (gpa){0}, 1 << 20));
	assert_null(guest_memory_at(&m, (gpa){0}, (1 << 20) + 1));
	guest_memory_fini(&m);

	o.file_per_region = true;
	assert_int_equal(guest_memory_init(&m, &o, &err), 0);
	for (unsigned i = 0; i < 4; i++)
		check_file(&m.regions[i]);
	guest_memory_fini(&m);

	o.region_count = GUEST_REGIONS_MAX + 1;
	assert_int_equal(guest_memory_init(&m, &o, &err), -EINVAL);
}

static void blocks(void **state)
{
	struct guest_memory_options o = {
		.bytes = 64 << 10, .region_count = 2, .hole_bytes = 4096, .anonymous = true};
	struct guest_memory m;
	struct guest_block a, b;
	struct guest_slab s;
	int64_t taken[40];

	(void)state;
	assert_int_equal(guest_memory_init(&m, &o, &err), 0);
	assert_int_equal(m.regions[0].fd, -1);
	assert_int_equal(guest_memory_alloc(&m, 100, 1, &a), 0);
	assert_int_equal(guest_memory_alloc(&m, 100, 4096, &b), 0);
	assert_int_equal(b.gpa.addr, 4096);
	assert_ptr_equal(guest_memory_at(&m, b.gpa, 100), b.host);
	assert_int_equal(guest_memory_alloc(&m, 30 << 10, 64, &a), 0); /* in the second region */
	assert_int_equal(a.gpa.addr, m.regions[1].gpa.addr);
	assert_int_equal(guest_memory_alloc(&m, 30 << 10, 64, &a), -ENOMEM);
	assert_int_equal(guest_memory_alloc(&m, ~0ull, 64, &a), -ENOMEM);

	assert_int_equal(guest_slab_init(&s, &m, 20, 1000, 64), 0);
	for (int i = 0; i < 20; i++) {
		taken[i] = guest_slab_take(&s);
		assert_int_equal(taken[i], i);
		memset(s.blocks[i].host, i, 1000);
	}
	assert_int_equal(guest_slab_take(&s), -1);
	for (int i = 0; i < 20; i++)
		assert_int_equal(s.blocks[i].host[999], i);
	guest_slab_give(&s, 7);
	assert_int_equal(guest_slab_take(&s), 7);
	guest_slab_fini(&s);
	assert_int_equal(guest_slab_init(&s, &m, 2000, 1000, 64), -ENOMEM);
	guest_memory_fini(&m);
}

static void poison(void **state)
{
	uint8_t buffer[100];
	uint32_t generation = 1;

	(void)state;
	memset(buffer, 0x55, sizeof(buffer));
	assert_false(guest_poison_find(buffer, sizeof(buffer), &generation));
	assert_int_equal(generation, 1);
	guest_poison(buffer + 13, 21, 0x12345678);
	assert_int_equal(buffer[12], 0x55);
	assert_int_equal(buffer[34], 0x55);
	assert_true(guest_poison_find(buffer, sizeof(buffer), &generation));
	assert_int_equal(generation, 0x12345678);
	assert_true(guest_poison_find(buffer, sizeof(buffer), NULL));
	/* A few bytes of it are not enough to tell. */
	assert_false(guest_poison_find(buffer, 20, &generation));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_at_hole),
		cmocka_unit_test(neighbours_touch),
		cmocka_unit_test(blocks),
		cmocka_unit_test(poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
