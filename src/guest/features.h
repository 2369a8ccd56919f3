/* SPDX-License-Identifier: BSD-2-Clause */
/* Feature bits of virtio 1.3 (6, 5.1.3) that our driver and front-end know. */
#ifndef GUEST_FEATURES_H
#define GUEST_FEATURES_H

#define GUEST_F(bit) (1ull << (bit))

#define GUEST_F_CSUM	    GUEST_F(0)
#define GUEST_F_GUEST_CSUM  GUEST_F(1)
#define GUEST_F_MTU	    GUEST_F(3)
#define GUEST_F_MAC	    GUEST_F(5)
#define GUEST_F_GUEST_TSO4  GUEST_F(7)
#define GUEST_F_GUEST_TSO6  GUEST_F(8)
#define GUEST_F_GUEST_ECN   GUEST_F(9)
#define GUEST_F_GUEST_UFO   GUEST_F(10)
#define GUEST_F_HOST_TSO4   GUEST_F(11)
#define GUEST_F_HOST_TSO6   GUEST_F(12)
#define GUEST_F_HOST_ECN    GUEST_F(13)
#define GUEST_F_HOST_UFO    GUEST_F(14)
#define GUEST_F_MRG_RXBUF   GUEST_F(15)
#define GUEST_F_STATUS	    GUEST_F(16)
#define GUEST_F_ANNOUNCE    GUEST_F(21)
#define GUEST_F_MQ	    GUEST_F(22)
#define GUEST_F_LOG_ALL	    GUEST_F(26) /* vhost's own */
#define GUEST_F_INDIRECT    GUEST_F(28)
#define GUEST_F_EVENT_IDX   GUEST_F(29)
#define GUEST_F_PROTOCOL    GUEST_F(30) /* vhost-user's own: protocol features follow */
#define GUEST_F_VERSION_1   GUEST_F(32)
#define GUEST_F_RING_PACKED GUEST_F(34)
#define GUEST_F_IN_ORDER    GUEST_F(35)
#define GUEST_F_GUEST_USO4  GUEST_F(54)
#define GUEST_F_GUEST_USO6  GUEST_F(55)
#define GUEST_F_HOST_USO    GUEST_F(56)

#endif
