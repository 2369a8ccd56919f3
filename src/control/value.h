/* SPDX-License-Identifier: BSD-2-Clause */
/* Values that commands take: their syntax and what to say when they are wrong. */
#ifndef CONTROL_VALUE_H
#define CONTROL_VALUE_H

#include <stdint.h>

#include "base/errmsg.h"
#include "port/port.h"

#define CONTROL_SECONDS_MAX 86400

/**
 * control_check_name() - A port's name: 1 to 31 of A-Z a-z 0-9 . _ -
 *
 * Return: 0, -EINVAL with @err set; the same for the others
 */
int control_check_name(const char *text, struct errmsg *err);

/**
 * control_parse_mac() - Six bytes in hex with colons; multicast and zero are refused
 */
int control_parse_mac(const char *text, uint8_t ret_mac[6], struct errmsg *err);

/**
 * control_parse_number() - Decimal digits and nothing else
 */
int control_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number,
			 struct errmsg *err);

/**
 * control_parse_seconds() - "10", "10s" or "500ms", at most CONTROL_SECONDS_MAX
 */
int control_parse_seconds(const char *text, uint64_t *ret_ns, struct errmsg *err);

/**
 * control_check_port_value() - A value of a port type's key, as the type's table says
 */
int control_check_port_value(const struct port_key *key, const char *text, struct errmsg *err);

/**
 * control_port_key_usage() - "queues N", "mode server|client": the key in help and errors
 */
const char *control_port_key_usage(const struct port_key *key, char *buffer, size_t buffer_bytes);

#endif
