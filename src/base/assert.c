/* SPDX-License-Identifier: BSD-2-Clause */
/* What a failed assertion prints. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_failed(const char *what, const char *file, int line, const char *function)
{
	fprintf(stderr, "lastref: assertion failed: %s (%s:%d, %s)\n", what, file, line, function);
	abort();
}
