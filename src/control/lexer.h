/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of a line: the same for arguments, configuration files and the control socket. */
#ifndef CONTROL_LEXER_H
#define CONTROL_LEXER_H

#include <stddef.h>

#include "base/errmsg.h"

#define CONTROL_WORDS_MAX  64
#define CONTROL_LINE_BYTES 4096

/**
 * struct control_words - The words of one command, with their storage
 */
struct control_words {
	unsigned count;
	const char *word[CONTROL_WORDS_MAX];
	char text[CONTROL_LINE_BYTES];
};

/**
 * control_lex() - Split @line into words
 *
 * Blanks split. '...' groups, and nothing in it is special; "..." groups, with \" and \\ in it.
 * Quotes may stand next to other characters of the same word. # where a word could begin makes
 * the rest a comment. Control characters other than tab, and what is not UTF-8, are refused.
 *
 * Return: 0 (an empty or comment line has no words), -EINVAL with @err set
 */
int control_lex(const char *line, struct control_words *ret_words, struct errmsg *err);

/**
 * control_words_set() - The words as given, already split by somebody else
 *
 * Return: 0, -EINVAL with @err set when there are too many, or a control character is in them
 */
int control_words_set(const char *const *words, size_t count, struct control_words *ret_words,
		      struct errmsg *err);

/**
 * control_quote() - Write @word such that control_lex() reads it back as one word
 *
 * Return: bytes of the quoted word without the final NUL; it was cut when that is >= @buffer_bytes
 */
size_t control_quote(const char *word, char *buffer, size_t buffer_bytes);

#endif
