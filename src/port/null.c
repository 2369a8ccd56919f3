/* SPDX-License-Identifier: BSD-2-Clause */
/* The null port: swallows what it is sent. For tests and for measuring. */
#include "engine/engine.h"
#include "port/types.h"

static int null_create(struct port *p, const struct port_config *config, struct errmsg *err)
{
	(void)config;
	(void)err;
	atomic_store(&p->offloads, PORT_CSUM | PORT_TSO4 | PORT_TSO6 | PORT_USO | PORT_ECN);
	atomic_store(&p->state, PORT_RUNNING);
	return 0;
}

static void null_destroy(struct port *p)
{
	(void)p;
}

static void null_show_config(struct port *p, char *buffer, size_t buffer_bytes)
{
	(void)p;
	snprintf(buffer, buffer_bytes, "null");
}

static void null_send(struct port *p, struct worker *w, struct frame *const *frames, unsigned count)
{
	struct port_counters *out = &p->counters[w->index];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += frames[i]->bytes;
	counter_add(&out->out_frames, count);
	counter_add(&out->out_bytes, bytes);
}

static void null_publish(struct port *p, struct worker *w)
{
	(void)p;
	(void)w;
}

static const struct port_key null_keys[] = {{0}};

const struct port_ops port_null_ops = {
	.type = "null",
	.help = "swallows what it is sent",
	.caps = PORT_SYNC | PORT_SG,
	.keys = null_keys,
	.create = null_create,
	.destroy = null_destroy,
	.show_config = null_show_config,
	.send = null_send,
	.publish = null_publish,
};
