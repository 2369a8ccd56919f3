/* SPDX-License-Identifier: BSD-2-Clause */
/* "did you mean": edit distance, where swapping two neighbours counts as one slip. */
#include "control/suggest.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define WORD_BYTES_MAX 32

static unsigned distance(const char *a, const char *b)
{
	unsigned row[WORD_BYTES_MAX + 1][WORD_BYTES_MAX + 1];
	unsigned na = (unsigned)strlen(a);
	unsigned nb = (unsigned)strlen(b);

	if (na > WORD_BYTES_MAX || nb > WORD_BYTES_MAX)
		return WORD_BYTES_MAX;
	for (unsigned i = 0; i <= na; i++)
		row[i][0] = i;
	for (unsigned j = 0; j <= nb; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= na; i++) {
		for (unsigned j = 1; j <= nb; j++) {
			unsigned d = row[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			d = min_u32(d, row[i - 1][j] + 1);
			d = min_u32(d, row[i][j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = min_u32(d, row[i - 2][j - 2] + 1);
			row[i][j] = d;
		}
	}
	return row[na][nb];
}

void control_suggest_init(struct control_suggestion *s, const char *typed)
{
	s->typed = typed;
	s->best = NULL;
	s->distance = 1 + (unsigned)strlen(typed) / 3; /* more slips than this is another word */
}

void control_suggest_offer(struct control_suggestion *s, const char *candidate)
{
	size_t bytes = strlen(s->typed);
	unsigned d = distance(s->typed, candidate);

	/* The beginning of a word is a good guess, however long the rest. */
	if (bytes > 1 && !strncmp(s->typed, candidate, bytes))
		d = min_u32(d, 1);
	if (d > s->distance || (s->best && d == s->distance))
		return;
	s->best = candidate;
	s->distance = d;
}

const char *control_suggest_text(const struct control_suggestion *s, char buffer[80])
{
	buffer[0] = 0;
	if (s->best)
		snprintf(buffer, 80, "; did you mean '%.40s'?", s->best);
	return buffer;
}
