/* SPDX-License-Identifier: BSD-2-Clause */
/* A vhost-user device: who may connect, when, and what is left when the connection ends.
 *
 * Theory of operation
 *
 * A device has at most one connection. As a server it listens; a second front-end is turned away
 * while the first one lives, which a migrating VMM tries again until the old one has left. One
 * whose peer hung up, or that never said a word for a while, gives way. As a client it dials, at
 * once and then with growing pauses. Everything that a connection brought (fds, memory, ring
 * states, features) ends with it; what is offered stays the same.
 *
 * A front-end that breaks the protocol is disconnected, or one ring of it breaks; it gets a
 * bounded number of log lines and of processor time. All of it happens in the main thread.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "vhost/device.h"

#define DIAL_WAIT_MIN_US  (100 * 1000ull)
#define DIAL_WAIT_MAX_US  (1000 * 1000ull)
#define LISTEN_PAUSE_US	  (1000 * 1000ull)
#define SILENT_NS	  (2 * NS_PER_S) /* a connection without a message gives way after it */
#define LOG_TOKENS	  20		 /* lines at once; one more each second */
#define TIMER_ACCURACY_US 10000

void vhost_log(struct vhost_device *d, enum log_level level, const char *format, ...)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t earned = (now_ns - d->log_at_ns) / NS_PER_S;
	char text[1024];
	va_list args;

	if (earned) {
		d->log_tokens = (unsigned)min_u64(d->log_tokens + earned, LOG_TOKENS);
		d->log_at_ns = now_ns;
	}
	if (d->log_tokens == 0) {
		d->log_suppressed++;
		return;
	}
	d->log_tokens--;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (d->log_suppressed)
		log_write(level, "port %s: %s (and %llu lines not shown)", d->name, text,
			  (unsigned long long)d->log_suppressed);
	else
		log_write(level, "port %s: %s", d->name, text);
	d->log_suppressed = 0;
}

enum vhost_verdict vhost_refuse(struct vhost_device *d, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->why, sizeof(d->why), format, args);
	va_end(args);
	vhost_log(d, LOG_LEVEL_WARN, "refused: %s", d->why);
	return VHOST_REFUSED;
}

enum vhost_verdict vhost_violation(struct vhost_device *d, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->why, sizeof(d->why), format, args);
	va_end(args);
	d->counters.violations++;
	return VHOST_CLOSE;
}

void vhost_device_note(struct vhost_device *d, const char *text)
{
	if (strcmp(d->note, text ? text : "") == 0)
		return;
	snprintf(d->note, sizeof(d->note), "%s", text ? text : "");
	if (text)
		vhost_log(d, LOG_LEVEL_WARN, "%s", d->note);
	d->config.ops->note(d->config.ctx, text);
}

/* Connections */

static void connected(struct vhost_device *d, int fd)
{
	int error = vhost_connection_open(d, fd);

	if (error) {
		vhost_log(d, LOG_LEVEL_WARN, "cannot take the connection: %s", strerror(-error));
		return;
	}
	d->counters.connections++;
	vhost_log(d, LOG_LEVEL_INFO, "front-end connected (pid %d, uid %d)", d->connection.pid,
		  d->connection.uid);
	d->config.ops->connected(d->config.ctx, d->connection.pid, d->connection.uid);
}

static void forget(struct vhost_device *d)
{
	vhost_rings_fini(d);
	mem_table_put(d->mem);
	d->mem = NULL;
	d->features = 0;
	d->features_told = false;
	d->protocol_features = 0;
	d->status = 0;
	d->note[0] = '\0';
	sd_event_source_set_enabled(d->memory_late, SD_EVENT_OFF);
}

static void dial_later(struct vhost_device *d)
{
	sd_event_source_set_time_relative(d->dial, d->dial_wait_us);
	sd_event_source_set_enabled(d->dial, SD_EVENT_ONESHOT);
	d->dial_wait_us = min_u64(2 * d->dial_wait_us, DIAL_WAIT_MAX_US);
}

void vhost_disconnect(struct vhost_device *d, bool peer_gone)
{
	ASSERT(d->connection.fd >= 0);
	vhost_rings_stop(d, peer_gone);
	vhost_connection_close(d);
	forget(d);
	vhost_log(d, LOG_LEVEL_INFO, "front-end disconnected: %s", d->why);
	d->config.ops->disconnected(d->config.ctx, d->why);
	if (d->dial) {
		if (d->connection.message_count) /* of the one that ended: somebody is there */
			d->dial_wait_us = DIAL_WAIT_MIN_US;
		dial_later(d);
	}
}

/* May the connection that is there be given up for another one? */
static bool gives_way(struct vhost_device *d)
{
	if (vhost_connection_is_dead(&d->connection)) {
		snprintf(d->why, sizeof(d->why), "the front-end closed the connection");
		return true;
	}
	if (d->connection.message_count == 0 &&
	    clock_now_ns() - d->connection.since_ns > SILENT_NS) {
		snprintf(d->why, sizeof(d->why), "it said nothing, and another front-end came");
		return true;
	}
	return false;
}

static int on_listening(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct vhost_device *d = userdata;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return 0;
		/* No fd left: the peer waits in the backlog until there is one. */
		vhost_log(d, LOG_LEVEL_WARN, "cannot accept a connection: %m");
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		sd_event_source_set_time_relative(d->listen_again, LISTEN_PAUSE_US);
		sd_event_source_set_enabled(d->listen_again, SD_EVENT_ONESHOT);
		return 0;
	}
	if (d->connection.fd >= 0 && gives_way(d))
		vhost_disconnect(d, true);
	if (d->connection.fd >= 0) {
		close(fd);
		d->counters.turned_away++;
		vhost_log(d, LOG_LEVEL_WARN,
			  "turned away a second front-end while the first (pid %d) is connected",
			  d->connection.pid);
		return 0;
	}
	connected(d, fd);
	return 0;
}

static int on_listen_again(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vhost_device *d = userdata;

	(void)source;
	(void)usec;
	sd_event_source_set_enabled(d->listening, SD_EVENT_ON);
	return 0;
}

static int on_dial(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vhost_device *d = userdata;
	int fd;

	(void)source;
	(void)usec;
	ASSERT(d->connection.fd < 0);
	fd = d->config.dial(d->config.ctx);
	if (fd >= 0)
		connected(d, fd);
	if (d->connection.fd < 0)
		dial_later(d);
	return 0;
}

static int on_memory_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vhost_device *d = userdata;

	(void)source;
	(void)usec;
	if (!d->mem)
		vhost_device_note(
			d, "features were negotiated, but no memory table came: " VHOST_SHARE_CURE);
	return 0;
}

static int timer_new(struct vhost_device *d, sd_event_time_handler_t handler,
		     sd_event_source **ret_timer)
{
	int error = sd_event_add_time_relative(d->config.loop, ret_timer, CLOCK_MONOTONIC, 0,
					       TIMER_ACCURACY_US, handler, d);

	return error < 0 ? error : sd_event_source_set_enabled(*ret_timer, SD_EVENT_OFF);
}

static int sources_init(struct vhost_device *d)
{
	int error = timer_new(d, on_memory_late, &d->memory_late);

	if (error < 0)
		return error;
	if (d->config.listen_fd >= 0) {
		error = timer_new(d, on_listen_again, &d->listen_again);
		if (error < 0)
			return error;
		return sd_event_add_io(d->config.loop, &d->listening, d->config.listen_fd, EPOLLIN,
				       on_listening, d);
	}
	error = timer_new(d, on_dial, &d->dial);
	if (error < 0)
		return error;
	return sd_event_source_set_enabled(d->dial, SD_EVENT_ONESHOT); /* at once */
}

int vhost_device_new(const struct vhost_device_config *config, struct vhost_device **ret_device)
{
	struct vhost_device *d;
	int error = -ENOMEM;

	ASSERT(config->pairs_max > 0);
	ASSERT(config->pairs_max <= VHOST_PAIRS_MAX);
	ASSERT((config->listen_fd >= 0) != (config->dial != NULL));
	d = calloc(1, sizeof(*d));
	if (!d)
		goto fail_fd;
	d->config = *config;
	snprintf(d->name, sizeof(d->name), "%s", config->name);
	d->config.name = d->name;
	if (config->mac) {
		memcpy(d->mac, config->mac, sizeof(d->mac));
		d->config.mac = d->mac;
	}
	d->connection.fd = -1;
	d->log_tokens = LOG_TOKENS;
	d->dial_wait_us = DIAL_WAIT_MIN_US;
	d->offered = config->features | VIRTIO_PROTOCOL_FEATURES;
	d->protocol_offered = VHOST_PROTOCOL_MQ | VHOST_PROTOCOL_RARP | VHOST_PROTOCOL_REPLY_ACK |
			      VHOST_PROTOCOL_MTU | VHOST_PROTOCOL_RESET_DEVICE |
			      VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS | VHOST_PROTOCOL_STATUS;
	if (config->mac || config->mtu) /* QEMU warns about it: only when it tells something */
		d->protocol_offered |= VHOST_PROTOCOL_CONFIG;
	d->ring_count = 2 * config->pairs_max;
	error = vhost_rings_init(d);
	if (error)
		goto fail;
	error = sources_init(d);
	if (error < 0)
		goto fail;
	*ret_device = d;
	return 0;
fail:
	vhost_device_free(d);
	return error;
fail_fd:
	if (config->listen_fd >= 0)
		close(config->listen_fd);
	return error;
}

void vhost_device_free(struct vhost_device *d)
{
	if (!d)
		return;
	if (d->connection.fd >= 0) {
		vhost_rings_stop(d, false);
		vhost_connection_close(d);
		forget(d);
	}
	sd_event_source_disable_unref(d->listening);
	sd_event_source_disable_unref(d->listen_again);
	sd_event_source_disable_unref(d->dial);
	sd_event_source_disable_unref(d->memory_late);
	if (d->config.listen_fd >= 0)
		close(d->config.listen_fd);
	free(d->rings);
	free(d);
}
