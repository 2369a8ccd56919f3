/* SPDX-License-Identifier: BSD-2-Clause */
/* How far apart are two processors just now: the round trip of one cache line between them. */

/*
 * Theory of operation
 *
 * On a virtual machine the host may move virtual processors: two of them are siblings on one core
 * at one moment and on different chips at the next, which changes what a switch can do by a factor
 * of two. So the benchmark asks before and after every round. Two threads, each bound to one
 * processor, pass a counter back and forth; the answer is the median of 15 samples of 500 round
 * trips, since one preemption spoils a mean. One number in ns per line read from stdin (any line).
 *
 * usage: bench-placement CPU CPU
 */

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLES	    15
#define ROUND_TRIPS 500
#define PASSES	    ((uint32_t)SAMPLES * ROUND_TRIPS)

static struct {
	_Alignas(128) _Atomic uint32_t ball;
	_Alignas(128) sem_t start;
	unsigned long home, cpu;
} far;

static void bind_cpu(unsigned long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		fprintf(stderr, "bench-placement: cannot run on processor %lu\n", cpu);
		exit(1);
	}
}

static void *echo(void *arg)
{
	(void)arg;
	bind_cpu(far.cpu);
	for (;;) {
		sem_wait(&far.start);
		for (uint32_t i = 0; i < PASSES; i++) {
			while (atomic_load_explicit(&far.ball, memory_order_acquire) != 2 * i + 1)
				;
			atomic_store_explicit(&far.ball, 2 * i + 2, memory_order_release);
		}
	}
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Median round trip in ns. */
static uint64_t measure(void)
{
	uint64_t took[SAMPLES];
	uint32_t turn = 0;

	atomic_store(&far.ball, 0);
	sem_post(&far.start);
	for (int s = 0; s < SAMPLES; s++) {
		uint64_t start = now_ns();

		for (int i = 0; i < ROUND_TRIPS; i++) {
			atomic_store_explicit(&far.ball, turn + 1, memory_order_release);
			turn += 2;
			while (atomic_load_explicit(&far.ball, memory_order_acquire) != turn)
				;
		}
		took[s] = now_ns() - start;
	}
	qsort(took, SAMPLES, sizeof(took[0]), compare_u64);
	return took[SAMPLES / 2] / ROUND_TRIPS;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char line[64];

	if (argc != 3) {
		fprintf(stderr, "usage: bench-placement CPU CPU\n");
		return 2;
	}
	far.home = strtoul(argv[1], NULL, 10);
	far.cpu = strtoul(argv[2], NULL, 10);
	bind_cpu(far.home);
	sem_init(&far.start, 0, 0);
	if (pthread_create(&thread, NULL, echo, NULL) != 0)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		printf("%llu\n", (unsigned long long)measure());
		fflush(stdout);
	}
	return 0;
}
