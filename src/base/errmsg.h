/* SPDX-License-Identifier: BSD-2-Clause */
/* One line for the operator: what was wrong and what was expected. */
#ifndef BASE_ERRMSG_H
#define BASE_ERRMSG_H

#define ERRMSG_BYTES 400

struct errmsg {
	char text[ERRMSG_BYTES];
};

/**
 * errmsg_set() - Write the line
 *
 * Return: -EINVAL, so that a caller can say "return errmsg_set(...)"
 */
int errmsg_set(struct errmsg *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
