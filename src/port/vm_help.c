/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator writes on the VMM's side to reach a vm port. */
#include <stdio.h>

#include "base/log.h"
#include "port/vm_control.h"

struct text {
	char bytes[1400];
	size_t at;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->bytes + t->at, sizeof(t->bytes) - t->at, format, args);
	va_end(args);
	if (n > 0)
		t->at = (size_t)min_u64(t->at + (unsigned)n, sizeof(t->bytes) - 1);
}

static void qemu(const struct port *p, const struct vm_settings *s)
{
	struct text t = {0};

	add(&t, "-object memory-backend-memfd,id=mem,size=SIZE,share=on -numa node,memdev=mem");
	add(&t, " -chardev socket,id=%s-c,path=%s,%s", p->name, s->value[VM_KEY_SOCKET],
	    s->client ? "server=on,wait=off" : "reconnect=1");
	add(&t, " -netdev vhost-user,id=%s-n,chardev=%s-c", p->name, p->name);
	if (s->value[VM_KEY_QUEUES] && s->queues > 1)
		add(&t, ",queues=%u", s->queues);
	add(&t, " -device virtio-net-pci,netdev=%s-n", p->name);
	if (s->value[VM_KEY_QUEUES] && s->queues > 1)
		add(&t, ",mq=on,vectors=%u", 2 * s->queues + 2);
	if (s->has_mac)
		add(&t, ",mac=%s", s->value[VM_KEY_MAC]);
	if (s->mtu)
		add(&t, ",host_mtu=%u", s->mtu);
	log_info("port %s: for QEMU: %s", p->name, t.bytes);
}

static void libvirt(const struct port *p, const struct vm_settings *s)
{
	struct text t = {0};

	add(&t, "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking> ");
	add(&t, "<interface type='vhostuser'>");
	if (s->has_mac)
		add(&t, "<mac address='%s'/>", s->value[VM_KEY_MAC]);
	add(&t, "<source type='unix' path='%s' mode='%s'%s", s->value[VM_KEY_SOCKET],
	    s->client ? "server" : "client",
	    s->client ? "/>" : "><reconnect enabled='yes' timeout='1'/></source>");
	add(&t, "<model type='virtio'/>");
	if (s->value[VM_KEY_QUEUES] && s->queues > 1)
		add(&t, "<driver queues='%u'/>", s->queues);
	if (s->mtu)
		add(&t, "<mtu size='%u'/>", s->mtu);
	add(&t, "</interface>");
	log_info("port %s: for libvirt: %s", p->name, t.bytes);
}

void vm_help_log(const struct port *p)
{
	const struct vm_control *c = p->impl;

	qemu(p, &c->settings);
	libvirt(p, &c->settings);
}
