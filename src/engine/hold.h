/* SPDX-License-Identifier: BSD-2-Clause */
/* Holding: how a frame outlives its turn. The one place where lending is decided (L10). */
#ifndef ENGINE_HOLD_H
#define ENGINE_HOLD_H

#include "engine/engine.h"

/**
 * hold_frame() - A packet of @f for holder @holder: lent when that is allowed and pays, else a copy
 * @expected_ns: how long the holder thinks it will keep it
 *
 * Return: NULL when no memory was left: the caller drops the frame with NO_MEMORY
 */
struct lr_packet *hold_frame(struct worker *w, struct port *holder, struct frame *f,
			     uint64_t expected_ns);

#endif
