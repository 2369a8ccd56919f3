/* SPDX-License-Identifier: BSD-2-Clause */
/* The rig: switch and guests in one process. See rig.h. */
#include "rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "holder_port.h"
#include "mem/mem.h"

#define GUEST_BYTES (32ull << 20)
#define TX_ROOM	    64 /* in front of a frame: its virtio-net header */

const uint8_t rig_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void rig_violation(struct rig *r, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!r->lenient) {
		fprintf(stderr, "violation: %s\n", text);
		abort();
	}
	if (r->violations++ == 0)
		memcpy(r->first_violation, text, sizeof(text));
}

void rig_check_frame(struct rig *r, const void *frame, size_t bytes, const char *where)
{
	static const char *const names[] = {"good", "foreign", "short", "poisoned", "corrupt"};
	uint64_t stamp = 0;
	enum oracle_verdict verdict = oracle_frame_check(frame, bytes, &stamp);

	if (verdict != ORACLE_GOOD)
		rig_violation(r, "%s: a frame of %zu bytes is %s", where, bytes, names[verdict]);
	else if (stamp >= r->next_stamp)
		rig_violation(r, "%s: a frame that nobody sent", where);
}

void rig_open(struct rig *r, const struct rig_options *options)
{
	struct bridge_config bridge = {
		.hold_limit_ns = options->hold_limit_ns,
		.zerocopy = !options->copy_all,
	};
	struct engine_config engine = {
		.worker_count = options->worker_count ? options->worker_count : 1,
		.threads = options->threads,
	};

	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++)
		engine.cpus[i] = -1;
	ASSERT(bridge_new(&bridge, &r->bridge) == 0);
	ASSERT(engine_new(&engine, r->bridge, &r->engine) == 0);
	if (options->threads)
		ASSERT(engine_start(r->engine) == 0);
	r->env.engine = r->engine;
	r->env.bridge = r->bridge;
	r->hold_limit_ns = bridge_config(r->bridge)->hold_limit_ns;
	r->next_stamp = 1;
}

/* Ports */

struct port *rig_port_add(struct rig *r, const char *name, const struct port_ops *ops,
			  const struct port_config *config)
{
	static const struct port_config nothing;
	struct errmsg err;
	struct port *p = NULL;

	if (port_new(&r->env, name, ops, config ? config : &nothing, &p, &err)) {
		fprintf(stderr, "rig: port %s: %s\n", name, err.text);
		abort();
	}
	r->ports[r->port_count++] = p;
	return p;
}

/* A vm port whose rings are started by hand instead of by a front-end. */
static int rig_vm_create(struct port *p, const struct port_config *config, struct errmsg *err)
{
	struct vm_port *vm = calloc(1, sizeof(*vm));
	struct vm_pair *pair = NULL;

	(void)config;
	ASSERT(vm);
	vm->port = p;
	p->impl = vm;
	if (vm_pair_new(vm, 0, &pair))
		return errmsg_set(err, "no memory");
	atomic_store(&vm->pairs[0], pair);
	return 0;
}

static void rig_vm_destroy(struct port *p)
{
	struct vm_port *vm = p->impl;

	vm_pair_free(vm->pairs[0]);
	free(vm);
}

static const struct port_ops rig_vm_ops = {
	.type = "rig-vm",
	.help = "a guest in this process",
	.caps = PORT_SYNC | PORT_SG,
	.create = rig_vm_create,
	.destroy = rig_vm_destroy,
	.send = vm_send,
	.publish = vm_publish,
	.notify = vm_notify,
};

static struct vm_pair *pair_of(struct rig_guest *g)
{
	struct vm_port *vm = g->port->impl;

	return vm->pairs[0];
}

/* Guests */

static uint32_t receiver_offloads(uint64_t features)
{
	uint32_t offloads = 0;

	if (features & GUEST_F_GUEST_CSUM)
		offloads |= PORT_CSUM;
	if (features & GUEST_F_GUEST_TSO4)
		offloads |= PORT_TSO4;
	if (features & GUEST_F_GUEST_TSO6)
		offloads |= PORT_TSO6;
	if (features & GUEST_F_GUEST_ECN)
		offloads |= PORT_ECN;
	return offloads;
}

static void queues_open(struct rig_guest *g)
{
	const struct rig_guest_options *o = &g->options;
	struct guest_tx_options tx = {
		.size = o->tx_size,
		.features = o->features,
		.indirect = o->indirect,
		.pieces_max = o->tx_pieces,
		.header_apart = o->header_apart,
	};
	struct guest_rx_options rx = {
		.size = o->rx_size,
		.features = o->features,
		.buffer_bytes = o->rx_bytes,
	};
	struct errmsg err;

	ASSERT(guest_tx_init(&g->tx, &g->memory, &tx, &err) == 0);
	ASSERT(guest_rx_init(&g->rx, &g->memory, &rx, &err) == 0);
	ASSERT(guest_slab_init(&g->buffers, &g->memory, o->tx_size, TX_ROOM + RIG_TX_BYTES, 64) ==
	       0);
	g->sizes = calloc(o->tx_size, sizeof(*g->sizes));
	ASSERT(g->sizes);
}

struct rig_guest *rig_guest_add(struct rig *r, const struct rig_guest_options *options)
{
	struct guest_memory_options memory = {.bytes = GUEST_BYTES, .anonymous = true};
	struct rig_guest *g = &r->guests[r->guest_count];
	struct errmsg err;
	char name[16];

	ASSERT(r->guest_count < RIG_GUESTS_MAX);
	memset(g, 0, sizeof(*g));
	g->rig = r;
	g->options = *options;
	if (!g->options.tx_size)
		g->options.tx_size = 256;
	if (!g->options.rx_size)
		g->options.rx_size = 256;
	if (!g->options.tx_pieces)
		g->options.tx_pieces = 1;
	if (!g->options.rx_bytes)
		g->options.rx_bytes = 2048;
	memcpy(g->mac, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(r->guest_count + 1)}, 6);
	snprintf(name, sizeof(name), "g%u", r->guest_count++);
	ASSERT(guest_memory_init(&g->memory, &memory, &err) == 0);
	ASSERT(mem_table_from_memory(g->memory.regions[0].host, g->memory.regions[0].gpa.addr,
				     GUEST_BYTES, &g->table) == 0);
	queues_open(g);
	oracle_ledger_init(&g->ledger, "transmit buffers", g->options.tx_size);
	g->port = rig_port_add(r, name, &rig_vm_ops, NULL);
	atomic_store(&g->port->offloads, receiver_offloads(g->options.features));
	vm_tx_enable(pair_of(g), true);
	vm_rx_enable(pair_of(g), true);
	rig_guest_rx_start(g);
	rig_guest_tx_start(g);
	return g;
}

static void port_state_update(struct rig_guest *g)
{
	bool running = g->tx_running || g->rx_running;

	atomic_store(&g->port->state, running ? PORT_RUNNING : PORT_CONNECTED);
}

static struct vhost_ring_info ring_info(struct rig_guest *g, const struct guest_ring *ring,
					uint16_t base)
{
	return (struct vhost_ring_info){
		.config = {.desc = (struct virtio_desc *)(void *)ring->desc,
			   .avail = (struct virtio_avail *)(void *)ring->avail,
			   .used = (struct virtio_used *)(void *)ring->used,
			   .size = ring->size,
			   .base = base,
			   .features = g->options.features,
			   .mem = g->table},
		.kick_fd = -1,
		.call_fd = -1,
	};
}

void rig_guest_tx_start(struct rig_guest *g)
{
	uint16_t base = guest_ring_used_idx(&g->tx.ring);
	struct vhost_ring_info info = ring_info(g, &g->tx.ring, base);

	ASSERT(!g->tx_running);
	ASSERT(vm_tx_start(pair_of(g), &info) == 0);
	g->tx_running = true;
	port_state_update(g);
}

void rig_guest_tx_stop(struct rig_guest *g)
{
	uint16_t base = vm_tx_stop(pair_of(g), false);

	g->tx_running = false;
	port_state_update(g);
	/* Everything that was taken was returned: the answer is the used index too (L11). */
	if (base != guest_ring_used_idx(&g->tx.ring))
		rig_violation(g->rig, "ring stopped at %u with used index %u", base,
			      guest_ring_used_idx(&g->tx.ring));
}

void rig_guest_rx_start(struct rig_guest *g)
{
	uint16_t base = guest_ring_used_idx(&g->rx.ring);
	struct vhost_ring_info info = ring_info(g, &g->rx.ring, base);

	ASSERT(!g->rx_running);
	if (!g->rx_filled) {
		guest_rx_fill(&g->rx);
		guest_rx_publish(&g->rx);
		g->rx_filled = true;
	}
	ASSERT(vm_rx_start(pair_of(g), &info) == 0);
	g->rx_running = true;
	port_state_update(g);
}

void rig_guest_rx_stop(struct rig_guest *g)
{
	uint16_t base = vm_rx_stop(pair_of(g), false);

	g->rx_running = false;
	port_state_update(g);
	if (base != guest_ring_used_idx(&g->rx.ring))
		rig_violation(g->rig, "receive ring stopped at %u with used index %u", base,
			      guest_ring_used_idx(&g->rx.ring));
}

bool rig_send(struct rig_guest *g, const uint8_t to[6], uint32_t bytes)
{
	struct guest_piece pieces[16];
	int64_t slot = guest_slab_take(&g->buffers);
	struct guest_block block;
	uint64_t stamp;

	if (slot < 0)
		return false;
	ASSERT(bytes <= RIG_TX_BYTES);
	block = g->buffers.blocks[slot];
	block.host += TX_ROOM;
	block.gpa.addr += TX_ROOM;
	stamp = atomic_fetch_add(&g->rig->next_stamp, 1);
	oracle_frame_make(block.host, bytes, to, g->mac, stamp);
	guest_pieces_cut(block, bytes, g->options.tx_pieces, pieces);
	if (guest_tx_post(&g->tx, pieces, g->options.tx_pieces, NULL, (uint64_t)slot) < 0) {
		guest_slab_give(&g->buffers, (uint32_t)slot);
		return false;
	}
	g->sizes[slot] = bytes;
	oracle_submit(&g->ledger, (uint32_t)slot, clock_now_ns());
	g->sent++;
	guest_tx_publish(&g->tx);
	return true;
}

unsigned rig_reap(struct rig_guest *g)
{
	uint64_t cookies[64];
	unsigned total = 0, count;

	while ((count = guest_tx_reap(&g->tx, cookies, ARRAY_SIZE(cookies)))) {
		for (unsigned i = 0; i < count; i++) {
			uint32_t slot = (uint32_t)cookies[i];

			oracle_end(&g->ledger, slot, ORACLE_COMPLETED);
			oracle_poison(g->buffers.blocks[slot].host + TX_ROOM, g->sizes[slot],
				      g->ledger.slots[slot].generation);
			guest_slab_give(&g->buffers, slot);
		}
		total += count;
	}
	if (g->tx.ring.fault != GUEST_FAULT_NONE)
		rig_violation(g->rig, "transmit ring: %s", guest_fault_text(g->tx.ring.fault));
	return total;
}

unsigned rig_receive(struct rig_guest *g, unsigned max)
{
	static __thread uint8_t bytes[70000];
	struct guest_rx_frame frame;
	unsigned count = 0;

	while (count < max && guest_rx_poll(&g->rx, &frame)) {
		ASSERT(frame.bytes <= sizeof(bytes));
		guest_rx_copy(&frame, bytes, frame.bytes);
		rig_check_frame(g->rig, bytes, frame.bytes, g->port->name);
		if (memcmp(bytes, g->mac, 6) != 0 && !(bytes[0] & 1) &&
		    memcmp(bytes + 6, g->mac, 6) == 0)
			rig_violation(g->rig, "%s got its own frame back", g->port->name);
		guest_rx_repost(&g->rx, &frame);
		count++;
	}
	if (count)
		guest_rx_publish(&g->rx);
	if (g->rx.ring.fault != GUEST_FAULT_NONE)
		rig_violation(g->rig, "receive ring: %s", guest_fault_text(g->rx.ring.fault));
	g->received += count;
	return count;
}

uint64_t rig_counter(const struct rig *r, const struct port *p, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < engine_worker_count(r->engine); i++)
		sum += counter_get(
			(const struct counter *)(const void *)((const char *)&p->counters[i] +
							       offset));
	return sum;
}

/* Frames that wait in a port: in a guest's copying queue, or held. */
static uint64_t queued_in(struct rig *r, struct port *p)
{
	uint64_t held = 0;

	if (p->ops == &rig_vm_ops) {
		struct vm_port *vm = p->impl;
		struct vm_pair_show show;

		vm_pair_show(vm->pairs[0], &show);
		return show.copyq_frames;
	}
	if (p->ops == &holder_port_ops)
		for (unsigned i = 0; i < engine_worker_count(r->engine); i++)
			held += holder_count(p, i);
	return held;
}

void rig_check_accounts(struct rig *r)
{
	uint64_t in = 0, out = 0, drops = 0, queued = 0;
	struct bridge_totals totals;

	for (unsigned i = 0; i < r->port_count; i++) {
		in += RIG_COUNT(r, r->ports[i], in_frames);
		out += RIG_COUNT(r, r->ports[i], out_frames);
		for (unsigned reason = 0; reason < LR_DROP_COUNT; reason++)
			drops += RIG_COUNT(r, r->ports[i], drops[reason]);
		queued += queued_in(r, r->ports[i]);
	}
	bridge_totals(r->bridge, &totals);
	in += totals.flood_copies + totals.segment_copies;
	if (in != out + drops + queued)
		rig_violation(r, "in %llu != out %llu + drops %llu + queued %llu",
			      (unsigned long long)in, (unsigned long long)out,
			      (unsigned long long)drops, (unsigned long long)queued);
}

static void guest_close(struct rig_guest *g)
{
	if (g->tx_running)
		rig_guest_tx_stop(g);
	if (g->rx_running)
		rig_guest_rx_stop(g);
	rig_reap(g);
}

static void guest_free(struct rig_guest *g)
{
	oracle_check_balance(&g->ledger);
	free(g->ledger.slots); /* frames that the switch never took may be left in the ring */
	mem_table_put(g->table);
	guest_tx_fini(&g->tx);
	guest_rx_fini(&g->rx);
	guest_slab_fini(&g->buffers);
	free(g->sizes);
	guest_memory_fini(&g->memory);
}

void rig_close(struct rig *r)
{
	for (unsigned i = 0; i < r->guest_count; i++)
		guest_close(&r->guests[i]);
	for (unsigned i = 0; i < r->port_count; i++)
		port_free(r->ports[i]);
	engine_free(r->engine);
	bridge_free(r->bridge);
	for (unsigned i = 0; i < r->guest_count; i++)
		guest_free(&r->guests[i]);
	ASSERT(mem_regions_mapped() == 0); /* L13 */
}
