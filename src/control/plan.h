/* SPDX-License-Identifier: BSD-2-Clause */
/* What a switch is to be started with: configuration and arguments, read and checked as a whole
 * before anything is made.
 */
#ifndef CONTROL_PLAN_H
#define CONTROL_PLAN_H

#include "base/errmsg.h"
#include "control/grammar.h"

struct control_plan;

int control_plan_new(struct control_plan **ret_plan);
void control_plan_free(struct control_plan *plan); /* NULL is fine */

/**
 * control_plan_file() - Every line of a configuration file; NUL bytes and files over 4 MiB refused
 *
 * Return: 0, negative errno with @err set: "x.conf:12: ..."
 */
int control_plan_file(struct control_plan *plan, const char *path, struct errmsg *err);

/**
 * control_plan_argument() - One command given as the @number-th argument
 */
int control_plan_argument(struct control_plan *plan, unsigned number, const char *text,
			  struct errmsg *err);

/**
 * control_plan_count() - Commands in it
 */
unsigned control_plan_count(const struct control_plan *plan);

/**
 * control_plan_run() - Do them in order, stop at the first that fails
 *
 * Return: 0, negative errno with @err set, which names the line; what was done before stays done
 */
int control_plan_run(const struct control_plan *plan, struct control *c, struct errmsg *err);

#endif
