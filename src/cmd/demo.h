/* SPDX-License-Identifier: BSD-2-Clause */
/* "lastref demo": its parts. demo.c runs it, demo_switch.c is the switch, demo_guest.c a guest's
 * thread, demo_report.c what is printed.
 */
#ifndef CMD_DEMO_H
#define CMD_DEMO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/errmsg.h"
#include "guest/guest.h"

#define DEMO_GUESTS 3

/* What the guests do; main thread sets it, they follow. */
enum demo_phase {
	DEMO_SETUP,    /* connect and start the rings */
	DEMO_ANNOUNCE, /* one broadcast each: the switch learns where everybody is */
	DEMO_UNICAST,  /* to the others in turn, as fast as they take it */
	DEMO_FLOOD,    /* broadcasts */
	DEMO_DRAIN,    /* send no more, take in what is under way */
	DEMO_STOP,     /* stop the rings, end the thread */
};

/**
 * struct demo_guest - One guest and its thread
 * @run:        all of them
 * @index:      0 to DEMO_GUESTS - 1; its number in the traffic, too
 * @guest:      the thread's own until it has ended
 * @seen_phase: the last phase that it acted on
 * @failed:     it gave up; guest.err says why once the thread has ended
 * @ended:      the thread does nothing any more
 * @owed:       frames sent that guest i is to receive
 * @arrived:    frames received from guest i
 * @sent:       frames and bytes sent
 * @delivered_bytes: received
 * @out:        transmit buffers not yet returned
 * @turn:       whom to send to next
 */
struct demo_guest {
	struct demo_run *run;
	unsigned index;
	pthread_t thread;
	bool has_thread;
	char path[128];
	struct guest guest;
	_Atomic int seen_phase;
	_Atomic bool failed;
	_Atomic bool ended;
	_Atomic uint64_t owed[DEMO_GUESTS];
	_Atomic uint64_t arrived[DEMO_GUESTS];
	_Atomic uint64_t sent;
	_Atomic uint64_t sent_bytes;
	_Atomic uint64_t delivered_bytes;
	_Atomic uint32_t out;
	unsigned turn;
};

struct demo_run {
	_Atomic int phase;
	struct demo_guest guests[DEMO_GUESTS];
};

/* Start the guests' threads; their sockets are in @dir. Return: 0, negative errno with @err set */
int demo_guests_start(struct demo_run *run, const char *dir, struct errmsg *err);

/* Whether every guest follows the phase; in DEMO_DRAIN also: everything arrived and returned. */
bool demo_guests_settled(const struct demo_run *run);
bool demo_guests_failed(const struct demo_run *run);
bool demo_guests_ended(const struct demo_run *run);

/* Wait for the threads, which must have ended or be about to; then free what they leave. */
void demo_guests_join(struct demo_run *run);
void demo_guests_close(struct demo_run *run);

/* The switch: the program's own engine, bridge and vm ports, in this process. */
struct demo_switch;

/**
 * struct demo_counts - What the switch counted up to now
 * @copied_bytes: payload, in the copy helpers
 * @held_frames:  that outlived their turn
 */
struct demo_counts {
	uint64_t frames;
	uint64_t drops;
	uint64_t in_place_bytes;
	uint64_t copied_bytes;
	uint64_t held_frames;
	uint64_t busy_ns;
};

int demo_switch_open(struct demo_switch **ret_switch, struct errmsg *err);
int demo_switch_add_ports(struct demo_switch *s, const char *dir, bool zerocopy,
			  struct errmsg *err);
void demo_switch_del_ports(struct demo_switch *s);
void demo_switch_close(struct demo_switch *s);

/* Serve the guests' messages for at most @timeout_ns. Return: true when the user interrupted */
bool demo_switch_serve(struct demo_switch *s, uint64_t timeout_ns);
void demo_switch_counts(const struct demo_switch *s, struct demo_counts *ret_counts);

/**
 * struct demo_part - Unicast or flood of one mode
 */
struct demo_part {
	uint64_t ns;
	uint64_t frames;
	uint64_t bytes;
	uint64_t delivered_frames;
	uint64_t delivered_bytes;
	struct demo_counts counts;
};

/**
 * struct demo_result - One mode's run
 * @returned_once: every buffer came back, and no ring saw one come back twice
 * @fault: what a ring saw that may not be; NULL: nothing
 */
struct demo_result {
	const char *name;
	struct demo_part unicast;
	struct demo_part flood;
	uint64_t sent;
	uint64_t returned;
	uint64_t lost;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t corrupted;
	bool returned_once;
	const char *fault;
	struct histogram away;
};

void demo_collect(struct demo_run *run, struct demo_result *ret);
bool demo_result_is_clean(const struct demo_result *r);
void demo_print_table(const struct demo_result *results, unsigned count);
void demo_print_json(const struct demo_result *results, unsigned count);

#endif
