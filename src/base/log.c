/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines to stderr: one write each. */
#include "base/log.h"
#include "base/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level log_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

_Static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_COUNT, "every level has a name");

void log_set_level(enum log_level level)
{
	log_level = level;
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[2048];
	va_list args;
	int at, n;

	if (level > log_level)
		return;
	at = snprintf(line, sizeof(line), "lastref: %s: ", level_names[level]);
	va_start(args, format);
	n = vsnprintf(line + at, sizeof(line) - (size_t)at - 1, format, args);
	va_end(args);
	if (n < 0)
		return;
	n = at + n;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	line[n] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		return; /* nobody reads our log: nothing to be done about it */
}
