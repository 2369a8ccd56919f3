/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest of the demo: its thread sends, receives and checks. */
#include "cmd/demo.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

/*
 * A sender has at most WINDOW frames under way to each receiver: two senders' frames, of at most
 * five buffers each, then always fit into a receive ring. So the demo can ask for every frame.
 */
#define RING_SIZE	1024
#define WINDOW		96
#define BURST		32
#define FRAME_BYTES_MAX 9014
#define IDLE_YIELDS	50
#define IDLE_WAIT_MS	1

static const uint32_t sizes[] = {64, 1514, 256, 1514, 9014, 1514, 512, 1514};

static unsigned room_for(const struct demo_guest *d, unsigned receiver)
{
	uint64_t under_way = d->owed[receiver] - d->run->guests[receiver].arrived[d->index];

	return under_way < WINDOW ? WINDOW - (unsigned)under_way : 0;
}

static bool send_one(struct demo_guest *d, uint16_t receiver)
{
	uint32_t bytes = sizes[d->sent % ARRAY_SIZE(sizes)];

	if (guest_send_frame(&d->guest, 0, receiver, bytes) < 0)
		return false;
	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		if (i != d->index && (receiver == i || receiver == TRAFFIC_BROADCAST))
			d->owed[i]++;
	d->sent++;
	d->sent_bytes += bytes;
	return true;
}

static unsigned send_unicast(struct demo_guest *d)
{
	unsigned sent = 0, n;

	for (unsigned i = 1; i < DEMO_GUESTS; i++) {
		unsigned receiver = (d->index + i) % DEMO_GUESTS;

		for (n = min_u32(room_for(d, receiver), BURST); n; n--, sent++)
			if (!send_one(d, (uint16_t)receiver))
				return sent;
	}
	return sent;
}

static unsigned send_flood(struct demo_guest *d, unsigned most)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		if (i != d->index)
			most = min_u32(most, room_for(d, i));
	while (sent < most && send_one(d, TRAFFIC_BROADCAST))
		sent++;
	return sent;
}

/* Tell the others, who wait for room, and the main thread. */
static void tell(struct demo_guest *d)
{
	const struct traffic_streams *all = &d->guest.streams;
	uint64_t from[DEMO_GUESTS] = {0};

	for (unsigned i = 0; i < all->count; i++)
		if (all->streams[i]->sender < DEMO_GUESTS)
			from[all->streams[i]->sender] += all->streams[i]->received;
	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		d->arrived[i] = from[i];
	d->delivered_bytes = d->guest.stats.received_bytes;
	d->out = guest_out_count(&d->guest);
}

static unsigned act(struct demo_guest *d, enum demo_phase phase)
{
	bool is_new = d->seen_phase != (int)phase;

	switch (phase) {
	case DEMO_ANNOUNCE:
		return is_new ? send_flood(d, 1) : 0;
	case DEMO_UNICAST:
		return send_unicast(d);
	case DEMO_FLOOD:
		return send_flood(d, BURST);
	default:
		return 0;
	}
}

static void work(struct demo_guest *d)
{
	unsigned idle = 0;
	enum demo_phase phase;

	while ((phase = (enum demo_phase)d->run->phase) != DEMO_STOP) {
		unsigned sent = act(d, phase), done;

		guest_flush(&d->guest);
		done = guest_poll(&d->guest, BURST);
		tell(d);
		d->seen_phase = (int)phase;
		if (sent || done) {
			idle = 0;
			continue;
		}
		if (++idle < IDLE_YIELDS) {
			sched_yield();
			continue;
		}
		guest_wait(&d->guest, IDLE_WAIT_MS);
		if (!frontend_is_alive(&d->guest.frontend))
			break;
	}
}

static int serve(struct demo_guest *d)
{
	struct guest_options options = {
		.path = d->path,
		.number = (uint16_t)d->index,
		.ring_size = RING_SIZE,
		.frame_bytes = FRAME_BYTES_MAX,
		.poison = true,
	};
	int error = guest_open(&d->guest, &options);

	if (!error)
		error = guest_start(&d->guest);
	if (error)
		return error;
	work(d);
	error = guest_stop(&d->guest);
	tell(d);
	return error;
}

static void *run_guest(void *arg)
{
	struct demo_guest *d = arg;

	if (serve(d))
		d->failed = true;
	d->ended = true;
	return NULL;
}

int demo_guests_start(struct demo_run *run, const char *dir, struct errmsg *err)
{
	memset(run, 0, sizeof(*run));
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		struct demo_guest *d = &run->guests[i];

		d->run = run;
		d->index = i;
		d->seen_phase = -1;
		snprintf(d->path, sizeof(d->path), "%s/%u", dir, i);
	}
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		struct demo_guest *d = &run->guests[i];
		int error = pthread_create(&d->thread, NULL, run_guest, d);

		if (error) {
			errmsg_set(err, "guest %u: no thread: %s", i, strerror(error));
			return -error;
		}
		d->has_thread = true;
	}
	return 0;
}

bool demo_guests_settled(const struct demo_run *run)
{
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		const struct demo_guest *d = &run->guests[i];

		if (d->seen_phase != run->phase)
			return false;
		if (run->phase != DEMO_DRAIN)
			continue;
		if (d->out)
			return false;
		for (unsigned k = 0; k < DEMO_GUESTS; k++)
			if (d->owed[k] != run->guests[k].arrived[i])
				return false;
	}
	return true;
}

bool demo_guests_failed(const struct demo_run *run)
{
	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		if (run->guests[i].failed || (run->guests[i].ended && run->phase != DEMO_STOP))
			return true;
	return false;
}

bool demo_guests_ended(const struct demo_run *run)
{
	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		if (run->guests[i].has_thread && !run->guests[i].ended)
			return false;
	return true;
}

void demo_guests_join(struct demo_run *run)
{
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		if (run->guests[i].has_thread)
			pthread_join(run->guests[i].thread, NULL);
		run->guests[i].has_thread = false;
	}
}

void demo_guests_close(struct demo_run *run)
{
	for (unsigned i = 0; i < DEMO_GUESTS; i++)
		guest_close(&run->guests[i].guest);
}
