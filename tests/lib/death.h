/* SPDX-License-Identifier: BSD-2-Clause */
/* Assertions under test: run something in a child process and see it abort. */
#ifndef DEATH_H
#define DEATH_H

#include <stdbool.h>

/**
 * death_seen() - Does @function abort, with @message in what it prints?
 * @message: part of the assertion's text, NULL for any
 *
 * It runs in a child: nothing changes here. What went otherwise is told on stderr.
 */
bool death_seen(void (*function)(void *), void *argument, const char *message);

#endif
