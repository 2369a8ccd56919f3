/* SPDX-License-Identifier: BSD-2-Clause */
/* The port types that there are; port.c has the table. */
#ifndef PORT_TYPES_H
#define PORT_TYPES_H

#include "port/port.h"

extern const struct port_ops port_vm_ops;
extern const struct port_ops port_null_ops;
extern const struct port_ops port_tap_ops;

#endif
