/* SPDX-License-Identifier: BSD-2-Clause */
/* Stand-ins for what surrounds the bridge: ports that record, a worker without a thread. */
#include "lib/fake_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static struct fake_port *fake_of(struct port *p)
{
	return container_of(p, struct fake_port, port);
}

static void fake_send(struct port *p, struct worker *w, struct frame *const *frames, unsigned count)
{
	struct fake_port *fp = fake_of(p);

	(void)w;
	ASSERT(count > 0);
	ASSERT(count <= FRAME_BURST);
	ASSERT(fp->pending_count == 0);
	for (unsigned i = 0; i < count; i++)
		fp->pending[i] = frames[i];
	fp->pending_count = count;
	fp->sends++;
	if (count > fp->send_max)
		fp->send_max = count;
}

static void remember(struct fake_port *fp, const struct frame *f)
{
	struct fake_delivery *d;

	if (fp->got_count == fp->got_room) {
		fp->got_room = fp->got_room ? 2 * fp->got_room : 64;
		fp->got = realloc(fp->got, fp->got_room * sizeof(*fp->got));
		ASSERT(fp->got);
	}
	d = &fp->got[fp->got_count++];
	d->data = malloc(f->bytes);
	ASSERT(d->data);
	ASSERT(frame_read(f, 0, d->data, f->bytes) == 0);
	d->bytes = f->bytes;
	d->offload = f->offload;
	d->in_place = f->lender != NULL;
}

static void fake_publish(struct port *p, struct worker *w)
{
	struct fake_port *fp = fake_of(p);
	struct port_counters *counters = &p->counters[w->index];

	fp->publishes++;
	for (unsigned i = 0; i < fp->pending_count; i++) {
		remember(fp, fp->pending[i]);
		counter_add(&counters->out_frames, 1);
		counter_add(&counters->out_bytes, fp->pending[i]->bytes);
	}
	fp->pending_count = 0;
}

static const struct port_ops fake_ops = {
	.type = "fake",
	.help = "remembers what it got",
	.caps = PORT_SYNC | PORT_SG,
	.send = fake_send,
	.publish = fake_publish,
};

struct fake_port *fake_port_new(struct bridge *br, const char *name)
{
	struct fake_port *fp = calloc(1, sizeof(*fp));
	struct errmsg err;

	ASSERT(fp);
	fp->port.ops = &fake_ops;
	snprintf(fp->port.name, sizeof(fp->port.name), "%s", name);
	atomic_store(&fp->port.state, PORT_RUNNING);
	fp->port.counters =
		aligned_alloc(CACHE_LINE_BYTES, ENGINE_WORKERS_MAX * sizeof(struct port_counters));
	ASSERT(fp->port.counters);
	memset(fp->port.counters, 0, ENGINE_WORKERS_MAX * sizeof(struct port_counters));
	ASSERT(bridge_port_add(br, &fp->port, &err) == 0);
	return fp;
}

void fake_port_forget(struct fake_port *fp)
{
	for (unsigned i = 0; i < fp->got_count; i++)
		free(fp->got[i].data);
	fp->got_count = 0;
}

void fake_port_free(struct bridge *br, struct fake_port *fp)
{
	if (!fp)
		return;
	if (bridge_port(br, fp->port.index) == &fp->port)
		bridge_port_remove(br, &fp->port);
	fake_port_forget(fp);
	free(fp->got);
	free(fp->port.counters);
	free(fp);
}

struct worker *fake_worker_new(struct bridge *br, unsigned index, uint32_t packets, uint32_t chunks)
{
	struct lr_pool_config config = {.packet_count = packets, .chunk_count = chunks};
	size_t bytes = (sizeof(struct worker) + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES *
		       CACHE_LINE_BYTES;
	struct worker *w = aligned_alloc(CACHE_LINE_BYTES, bytes);

	ASSERT(w);
	memset(w, 0, bytes);
	w->index = index;
	w->bridge = br;
	w->now_ns = 1000000000ull * 1000;
	ASSERT(lr_pool_new(&config, &w->pool) == 0);
	ASSERT(bridge_worker_init(br, w) == 0);
	return w;
}

void fake_worker_free(struct bridge *br, struct worker *w)
{
	if (!w)
		return;
	bridge_worker_fini(br, w);
	lr_pool_free(w->pool);
	free(w);
}

struct frame *fake_frame(struct worker *w, uint8_t *data, uint32_t bytes, uint32_t head_bytes,
			 uint32_t piece_bytes)
{
	static struct frame_lender no_lender;
	struct frame_burst *burst = &w->burst;
	struct frame *f = &burst->frames[burst->count++];

	ASSERT(burst->count <= FRAME_BURST);
	if (head_bytes > FRAME_SNAPSHOT_BYTES)
		head_bytes = FRAME_SNAPSHOT_BYTES;
	if (head_bytes > bytes)
		head_bytes = bytes;
	memset(f, 0, offsetof(struct frame, room));
	f->head = f->room + FRAME_HEADROOM;
	memcpy(f->head, data, head_bytes);
	f->head_bytes = (uint16_t)head_bytes;
	f->bytes = bytes;
	f->lender = &no_lender;
	f->segments = &burst->segments[burst->segment_count];
	for (uint32_t at = head_bytes; at < bytes;) {
		uint32_t part = bytes - at;

		if (piece_bytes && part > piece_bytes)
			part = piece_bytes;
		ASSERT(burst->segment_count < FRAME_BURST_SEGMENTS);
		burst->segments[burst->segment_count++] =
			(struct segment){.data = data + at, .bytes = part};
		f->segment_count++;
		at += part;
	}
	return f;
}

void fake_turn(struct bridge *br, struct worker *w, struct port *in)
{
	struct source source = {.port = in};

	w->source = &source;
	counter_add(&in->counters[w->index].in_frames, w->burst.count);
	bridge_input(br, w, in);
	bridge_deliver(br, w);
	w->source = NULL;
	for (unsigned i = 0; i < w->touched_count; i++)
		w->outbox[w->touched[i]].count = 0;
	w->touched_count = 0;
	w->burst.count = 0;
	w->burst.segment_count = 0;
}

void fake_ethernet(uint8_t *to, uint64_t destination, uint64_t source, uint16_t type)
{
	for (unsigned i = 0; i < 6; i++) {
		to[i] = (uint8_t)(destination >> (40 - 8 * i));
		to[6 + i] = (uint8_t)(source >> (40 - 8 * i));
	}
	to[12] = (uint8_t)(type >> 8);
	to[13] = (uint8_t)type;
}

uint64_t fake_drops(const struct port *p, enum lr_drop_reason reason)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++)
		sum += counter_get(&p->counters[i].drops[reason]);
	return sum;
}

bool fake_accounts_balance(const struct bridge *br, struct fake_port *const *ports, unsigned count)
{
	uint64_t in = 0, out = 0, drops = 0;
	struct bridge_totals totals;

	for (unsigned i = 0; i < count; i++) {
		for (unsigned w = 0; w < ENGINE_WORKERS_MAX; w++) {
			in += counter_get(&ports[i]->port.counters[w].in_frames);
			out += counter_get(&ports[i]->port.counters[w].out_frames);
		}
		for (unsigned reason = 0; reason < LR_DROP_COUNT; reason++)
			drops += fake_drops(&ports[i]->port, reason);
	}
	bridge_totals(br, &totals);
	if (in + totals.flood_copies + totals.segment_copies == out + drops)
		return true;
	fprintf(stderr, "in %lu + flood copies %lu + segment copies %lu != out %lu + drops %lu\n",
		in, totals.flood_copies, totals.segment_copies, out, drops);
	return false;
}
