/* SPDX-License-Identifier: BSD-2-Clause */
/* Truncated guest memory: the SIGBUS handler and the list of mappings that it looks into.
 *
 * Theory of operation
 *
 * A front-end may truncate the file behind its memory at any time; the next touch raises SIGBUS in
 * the thread that touched. The handler maps zeros over the whole region, marks it broken and
 * returns, so that the access is repeated and finds zeros. Nobody jumps anywhere: the toucher ends
 * its copy and looks at mem_table_is_broken() before it publishes.
 *
 * The list is an array of slots that the handler reads without a lock. A thread that faults in a
 * region holds a reference to it (its ring's table, or a pin), so the slot that it looks for does
 * not change meanwhile; other slots may, and match nothing, because mappings never overlap.
 *
 * A fault anywhere else is not ours: the default action is restored and the access repeated.
 */
#include "mem/region.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/spinlock.h"

/* Ports times regions of each; untouched slots cost no memory. */
#define SLOTS_MAX (256u * MEM_REGIONS_MAX)

struct slot {
	_Atomic uintptr_t start;
	_Atomic uintptr_t end;
	_Atomic(struct mem_region *) region;
};

static struct slot slots[SLOTS_MAX];
static _Atomic uint32_t slots_used; /* all that were ever taken lie below */
static struct spinlock slots_lock;  /* writers only */
static _Atomic uint32_t broken_count;

/* Regions whose file failed stay counted until they are unmapped. */
bool mem_fault_any(void)
{
	return atomic_load_explicit(&broken_count, memory_order_acquire) != 0;
}

static struct mem_region *find(uintptr_t address)
{
	uint32_t used = atomic_load_explicit(&slots_used, memory_order_acquire);

	for (uint32_t i = 0; i < used; i++) {
		struct mem_region *region =
			atomic_load_explicit(&slots[i].region, memory_order_acquire);

		if (region && address >= atomic_load(&slots[i].start) &&
		    address < atomic_load(&slots[i].end))
			return region;
	}
	return NULL;
}

/* Async-signal-safe: atomics and two system calls. */
static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	struct mem_region *region = NULL;
	int saved_errno = errno;

	(void)context;
	if (info->si_code > 0)
		region = find((uintptr_t)info->si_addr);
	if (region &&
	    mmap(region->map, region->map_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED) {
		if (!atomic_exchange(&region->broken, true))
			atomic_fetch_add(&broken_count, 1);
	} else {
		struct sigaction fallback = {.sa_handler = SIG_DFL};

		sigaction(signal, &fallback, NULL);
		if (info->si_code <= 0)
			raise(signal); /* somebody sent it: no access will be repeated */
	}
	errno = saved_errno;
}

int mem_init(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int mem_fault_watch(struct mem_region *region)
{
	int error = -ENOMEM;

	ASSERT(region->map);
	spinlock_lock(&slots_lock);
	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		if (atomic_load(&slots[i].region))
			continue;
		atomic_store(&slots[i].start, (uintptr_t)region->map);
		atomic_store(&slots[i].end, (uintptr_t)region->map + region->map_bytes);
		atomic_store_explicit(&slots[i].region, region, memory_order_release);
		if (i >= atomic_load(&slots_used))
			atomic_store_explicit(&slots_used, i + 1, memory_order_release);
		error = 0;
		break;
	}
	spinlock_unlock(&slots_lock);
	return error;
}

void mem_fault_unwatch(struct mem_region *region)
{
	bool found = false;

	spinlock_lock(&slots_lock);
	for (uint32_t i = 0; i < atomic_load(&slots_used) && !found; i++) {
		if (atomic_load(&slots[i].region) != region)
			continue;
		atomic_store(&slots[i].region, NULL);
		found = true;
	}
	spinlock_unlock(&slots_lock);
	ASSERT(found);
	if (atomic_load(&region->broken))
		atomic_fetch_sub(&broken_count, 1);
}
