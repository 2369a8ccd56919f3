/* SPDX-License-Identifier: BSD-2-Clause */
/* "did you mean": the known word that is closest to what was typed. */
#ifndef CONTROL_SUGGEST_H
#define CONTROL_SUGGEST_H

/**
 * struct control_suggestion - Collects candidates
 * @typed: what the operator wrote
 * @best:  the closest candidate so far, NULL when none is close
 */
struct control_suggestion {
	const char *typed;
	const char *best;
	unsigned distance;
};

void control_suggest_init(struct control_suggestion *s, const char *typed);

/**
 * control_suggest_offer() - A word that would have been right; stays the caller's
 */
void control_suggest_offer(struct control_suggestion *s, const char *candidate);

/**
 * control_suggest_text() - "; did you mean 'x'?" or "", in @buffer
 */
const char *control_suggest_text(const struct control_suggestion *s, char buffer[80]);

#endif
