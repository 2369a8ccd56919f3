/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's memory: shared files mapped here, seen by the guest at its own addresses. */
#include "guest/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/util.h"

/* Poison is this word and the generation, over and over: no payload pattern contains it. */
static const uint8_t poison_mark[4] = {0xde, 0x1e, 0x7e, 0xd0};

static uint64_t round_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static int map_file(const char *name, uint64_t bytes, const struct guest_memory_options *o,
		    int *ret_fd, void **ret_map)
{
	int fd = -1, flags = MAP_SHARED | (o->anonymous ? MAP_ANONYMOUS : 0);
	void *map;

	if (!o->anonymous) {
		fd = memfd_create(name, MFD_CLOEXEC | (o->unsealable ? 0 : MFD_ALLOW_SEALING));
		if (fd < 0)
			return -errno;
		if (ftruncate(fd, (off_t)bytes) < 0)
			goto fail;
	}
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (map == MAP_FAILED)
		goto fail;
	*ret_fd = fd;
	*ret_map = map;
	return 0;
fail:;
	int error = -errno;

	if (fd >= 0)
		close(fd);
	return error;
}

/* One file for all regions: each has a descriptor of its own, the mapping is in one piece. */
static int map_slices(struct guest_memory *m, uint64_t region_bytes,
		      const struct guest_memory_options *o)
{
	unsigned count = m->region_count;
	void *map = NULL;
	int fd = -1, error;

	error = map_file("lastref-guest", region_bytes * count, o, &fd, &map);
	if (error)
		return error;
	for (unsigned i = 0; i < count; i++) {
		m->regions[i].host = (uint8_t *)map + i * region_bytes;
		m->regions[i].bytes = region_bytes;
		m->regions[i].offset_bytes = i * region_bytes;
		if (i == 0 || o->anonymous) {
			m->regions[i].fd = fd;
			continue;
		}
		m->regions[i].fd = dup(fd);
		if (m->regions[i].fd < 0)
			return -errno;
	}
	return 0;
}

static int map_files(struct guest_memory *m, uint64_t region_bytes,
		     const struct guest_memory_options *o)
{
	for (unsigned i = 0; i < m->region_count; i++) {
		struct guest_region *r = &m->regions[i];
		char name[32];
		void *map = NULL;
		int error;

		snprintf(name, sizeof(name), "lastref-guest-%u", i);
		error = map_file(name, region_bytes, o, &r->fd, &map);
		if (error)
			return error;
		r->host = map;
		r->bytes = region_bytes;
	}
	return 0;
}

int guest_memory_init(struct guest_memory *m, const struct guest_memory_options *options,
		      struct errmsg *err)
{
	unsigned count = options->region_count ? options->region_count : 1;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), region_bytes;
	int error;

	memset(m, 0, sizeof(*m));
	if (count > GUEST_REGIONS_MAX)
		return errmsg_set(err, "guest memory: %u regions, at most %d", count,
				  GUEST_REGIONS_MAX);
	if (!options->bytes)
		return errmsg_set(err, "guest memory: no size given");
	region_bytes = round_up((options->bytes + count - 1) / count, page);
	for (unsigned i = 0; i < count; i++)
		m->regions[i].fd = -1;
	m->region_count = count;
	error = options->file_per_region ? map_files(m, region_bytes, options)
					 : map_slices(m, region_bytes, options);
	if (error) {
		errmsg_set(err, "guest memory: %llu bytes: %s", (unsigned long long)options->bytes,
			   strerror(-error));
		guest_memory_fini(m);
		return error;
	}
	for (unsigned i = 0; i < count; i++) {
		struct guest_region *r = &m->regions[i];

		r->gpa.addr = options->gpa.addr + i * (region_bytes + options->hole_bytes);
		r->uva = options->uva ? options->uva + i * (region_bytes + options->hole_bytes)
				      : (uint64_t)(uintptr_t)r->host;
	}
	return 0;
}

void guest_memory_fini(struct guest_memory *m)
{
	for (unsigned i = 0; i < m->region_count; i++) {
		if (m->regions[i].host)
			munmap(m->regions[i].host, m->regions[i].bytes);
		if (m->regions[i].fd >= 0)
			close(m->regions[i].fd);
	}
	memset(m, 0, sizeof(*m));
}

int guest_memory_alloc_in(struct guest_memory *m, unsigned region_index, uint64_t bytes,
			  uint64_t align_bytes, struct guest_block *ret_block)
{
	struct guest_region *r = &m->regions[region_index];
	uint64_t at;

	ASSERT(region_index < m->region_count);
	ASSERT(align_bytes && !(align_bytes & (align_bytes - 1)));
	at = round_up(r->gpa.addr + r->used_bytes, align_bytes) - r->gpa.addr;
	if (at > r->bytes || bytes > r->bytes - at)
		return -ENOMEM;
	r->used_bytes = at + bytes;
	ret_block->gpa.addr = r->gpa.addr + at;
	ret_block->host = r->host + at;
	return 0;
}

int guest_memory_alloc(struct guest_memory *m, uint64_t bytes, uint64_t align_bytes,
		       struct guest_block *ret_block)
{
	for (unsigned i = 0; i < m->region_count; i++)
		if (!guest_memory_alloc_in(m, i, bytes, align_bytes, ret_block))
			return 0;
	return -ENOMEM;
}

static const struct guest_region *find_region(const struct guest_memory *m, gpa address)
{
	for (unsigned i = 0; i < m->region_count; i++) {
		const struct guest_region *r = &m->regions[i];

		if (address.addr >= r->gpa.addr && address.addr - r->gpa.addr < r->bytes)
			return r;
	}
	return NULL;
}

uint8_t *guest_memory_at(const struct guest_memory *m, gpa address, uint64_t bytes)
{
	const struct guest_region *r = find_region(m, address);
	uint64_t at, got;

	if (!r)
		return NULL;
	at = address.addr - r->gpa.addr;
	got = r->bytes - at;
	/* Neighbours that touch in both kinds of address are one piece. */
	for (const struct guest_region *n = r; got < bytes; n++) {
		if (n + 1 >= m->regions + m->region_count)
			return NULL;
		if (n[1].gpa.addr != n->gpa.addr + n->bytes || n[1].host != n->host + n->bytes)
			return NULL;
		got += n[1].bytes;
	}
	return r->host + at;
}

uint64_t guest_memory_uva(const struct guest_memory *m, gpa address)
{
	const struct guest_region *r = find_region(m, address);

	return r ? r->uva + (address.addr - r->gpa.addr) : 0;
}

int guest_slab_init(struct guest_slab *s, struct guest_memory *m, uint32_t count,
		    uint32_t block_bytes, uint32_t align_bytes)
{
	memset(s, 0, sizeof(*s));
	s->blocks = calloc(count, sizeof(*s->blocks));
	s->free = calloc(count, sizeof(*s->free));
	if (!s->blocks || !s->free)
		goto fail;
	for (uint32_t i = 0; i < count; i++) {
		struct guest_block *b = &s->blocks[i];

		if (guest_memory_alloc_in(m, i % m->region_count, block_bytes, align_bytes, b) &&
		    guest_memory_alloc(m, block_bytes, align_bytes, b))
			goto fail;
	}
	/* The first block on top of the stack. */
	for (uint32_t i = 0; i < count; i++)
		s->free[i] = count - 1 - i;
	s->block_bytes = block_bytes;
	s->count = count;
	s->free_count = count;
	return 0;
fail:
	guest_slab_fini(s);
	return -ENOMEM;
}

void guest_slab_fini(struct guest_slab *s)
{
	free(s->blocks);
	free(s->free);
	memset(s, 0, sizeof(*s));
}

void guest_poison(void *buffer, size_t bytes, uint32_t generation)
{
	uint8_t word[8], *to = buffer;

	memcpy(word, poison_mark, sizeof(poison_mark));
	memcpy(word + sizeof(poison_mark), &generation, sizeof(generation));
	for (; bytes >= sizeof(word); bytes -= sizeof(word), to += sizeof(word))
		memcpy(to, word, sizeof(word));
	memcpy(to, word, bytes);
}

bool guest_poison_find(const void *buffer, size_t bytes, uint32_t *ret_generation)
{
	const uint8_t *at = memmem(buffer, bytes, poison_mark, sizeof(poison_mark));

	if (!at || (size_t)((const uint8_t *)buffer + bytes - at) < 8)
		return false;
	if (ret_generation)
		memcpy(ret_generation, at + sizeof(poison_mark), sizeof(*ret_generation));
	return true;
}
