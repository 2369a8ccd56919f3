/* SPDX-License-Identifier: BSD-2-Clause */
/* One line for the operator: what was wrong and what was expected. */
#include "base/errmsg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int errmsg_set(struct errmsg *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return -EINVAL;
}
