/* SPDX-License-Identifier: BSD-2-Clause */
/* The opener's taps: attach queues, choose header and offloads, set the link up, join a bridge. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "control/opener_protocol.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define VNET_HEADER_BYTES 12
#define BRIDGE_PORTS_MAX  1024

static int fail(struct errmsg *err, const struct opener_request *q, const char *what)
{
	int error = errno;

	errmsg_set(err, "tap %s: %s: %s", q->ifname, what, strerror(error));
	return -error;
}

static const char *user_name(void)
{
	struct passwd *pw = getpwuid(geteuid());

	return pw ? pw->pw_name : "USER";
}

static int attach_failed(const struct opener_request *q, bool existed, struct errmsg *err)
{
	int error = errno;

	switch (error) {
	case EPERM:
		if (existed)
			errmsg_set(err, "tap %s: belongs to another user and needs CAP_NET_ADMIN",
				   q->ifname);
		else
			errmsg_set(err,
				   "tap %s: needs CAP_NET_ADMIN; try: ip tuntap add %s mode tap "
				   "user %s",
				   q->ifname, q->ifname, user_name());
		break;
	case EBUSY:
		errmsg_set(err, "tap %s: another process uses it", q->ifname);
		break;
	case EINVAL:
		if (existed && q->queue_count > 1)
			errmsg_set(err,
				   "tap %s: has a single queue, %u were asked for; make it with: "
				   "ip tuntap add %s mode tap multi_queue",
				   q->ifname, q->queue_count, q->ifname);
		else
			errmsg_set(err, "tap %s: the interface of this name is no tap", q->ifname);
		break;
	default:
		return fail(err, q, "cannot attach");
	}
	return -error;
}

static int set_interface(int fd, const char *ifname, unsigned flags)
{
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
	return ioctl(fd, TUNSETIFF, &ifr);
}

/* One queue. A persistent tap with a single queue refuses IFF_MULTI_QUEUE with EINVAL. */
static int attach(const struct opener_request *q, bool existed, int *ret_fd, struct errmsg *err)
{
	int error;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fail(err, q, "cannot open /dev/net/tun");
	if (set_interface(fd, q->ifname, IFF_MULTI_QUEUE) < 0 &&
	    (errno != EINVAL || !existed || q->queue_count > 1 ||
	     set_interface(fd, q->ifname, 0) < 0)) {
		error = attach_failed(q, existed, err);
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static int set_header(const struct opener_request *q, int fd, struct errmsg *err)
{
	static const unsigned offloads[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
		TUN_F_CSUM,
		0,
	};
	int bytes = VNET_HEADER_BYTES;

	if (ioctl(fd, TUNSETVNETHDRSZ, &bytes) < 0)
		return fail(err, q, "cannot set the size of the virtio-net header");
	for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++)
		if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads[i]) == 0)
			return 0;
	return fail(err, q, "cannot set offloads");
}

static int set_up(const struct opener_request *q, int sock, struct errmsg *err)
{
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, q->ifname, IFNAMSIZ);
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		return fail(err, q, "cannot read its state");
	if (ifr.ifr_flags & IFF_UP)
		return 0;
	ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) == 0)
		return 0;
	if (errno != EPERM)
		return fail(err, q, "cannot set it up");
	errmsg_set(err, "tap %s: is down, to set it up needs CAP_NET_ADMIN; try: ip link set %s up",
		   q->ifname, q->ifname);
	return -EPERM;
}

/* Whether @ifindex is a port of bridge @name already; asking needs no rights. */
static bool is_in_bridge(int sock, const char *name, int ifindex)
{
	static int ports[BRIDGE_PORTS_MAX];
	unsigned long args[4] = {BRCTL_GET_PORT_LIST, (unsigned long)ports, ARRAY_SIZE(ports)};
	struct ifreq ifr = {0};

	memset(ports, 0, sizeof(ports));
	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	ifr.ifr_data = (char *)args;
	if (ioctl(sock, SIOCDEVPRIVATE, &ifr) < 0)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		if (ports[i] == ifindex)
			return true;
	return false;
}

static int join_bridge(const struct opener_request *q, int sock, struct errmsg *err)
{
	struct ifreq ifr = {0};
	int error;

	memcpy(ifr.ifr_name, q->bridge, IFNAMSIZ);
	ifr.ifr_ifindex = (int)if_nametoindex(q->ifname);
	if (is_in_bridge(sock, q->bridge, ifr.ifr_ifindex) || ioctl(sock, SIOCBRADDIF, &ifr) == 0)
		return 0;
	error = errno;
	switch (error) {
	case ENODEV:
		errmsg_set(err,
			   "bridge %s: does not exist; make it with: ip link add %s type bridge",
			   q->bridge, q->bridge);
		break;
	case EOPNOTSUPP:
	case ENOTTY:
		errmsg_set(err, "bridge %s: the interface of this name is no bridge", q->bridge);
		break;
	case EBUSY:
		errmsg_set(err, "bridge %s: tap %s is a port of another bridge", q->bridge,
			   q->ifname);
		break;
	case EPERM:
		errmsg_set(err,
			   "bridge %s: to add tap %s needs CAP_NET_ADMIN; try: ip link set %s "
			   "master %s",
			   q->bridge, q->ifname, q->ifname, q->bridge);
		break;
	default:
		errmsg_set(err, "bridge %s: cannot add tap %s: %s", q->bridge, q->ifname,
			   strerror(error));
	}
	return -error;
}

static int set_link(const struct opener_request *q, struct errmsg *err)
{
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error;

	if (sock < 0)
		return fail(err, q, "cannot make a socket");
	error = set_up(q, sock, err);
	if (!error && q->bridge[0])
		error = join_bridge(q, sock, err);
	close(sock);
	return error;
}

int opener_do_tap(const struct opener_request *q, int *ret_fds, struct errmsg *err)
{
	bool existed = if_nametoindex(q->ifname) != 0;
	unsigned count;
	int error = 0;

	for (count = 0; count < q->queue_count; count++) {
		/* The second queue joins what the first one made. */
		error = attach(q, existed || count > 0, &ret_fds[count], err);
		if (error)
			goto close_all;
	}
	error = set_header(q, ret_fds[0], err);
	if (!error)
		error = set_link(q, err);
	if (!error)
		return 0;
close_all:
	while (count > 0)
		close(ret_fds[--count]);
	return error;
}
