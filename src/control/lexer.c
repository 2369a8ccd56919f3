/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of a line. */
#include "control/lexer.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Control characters can forge log lines and hide in a terminal. */
static bool is_forbidden(char c)
{
	return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

/* Answers are JSON: what a command names must be fit to stand in one. */
static bool is_utf8(const char *text)
{
	json_t *string = json_string(text);

	json_decref(string);
	return string != NULL;
}

/* Copy one word from @at into @out. Return: behind the word, NULL with @err set. */
static const char *lex_word(const char *at, char **out, struct errmsg *err)
{
	char quote = 0;

	for (; *at && (quote || !is_blank(*at)); at++) {
		if (is_forbidden(*at)) {
			errmsg_set(err, "control character 0x%02x", (unsigned char)*at);
			return NULL;
		}
		if (quote == '"' && *at == '\\' && (at[1] == '"' || at[1] == '\\')) {
			*(*out)++ = *++at;
		} else if (quote ? *at == quote : *at == '"' || *at == '\'') {
			quote = quote ? 0 : *at;
		} else {
			*(*out)++ = *at;
		}
	}
	if (quote) {
		errmsg_set(err, "the quote %c is not closed", quote);
		return NULL;
	}
	*(*out)++ = 0;
	return at;
}

int control_lex(const char *line, struct control_words *ret_words, struct errmsg *err)
{
	char *out = ret_words->text;
	const char *at = line;

	ret_words->count = 0;
	/* A word takes at most as much as it stands for and the blank behind it. */
	if (strlen(line) + 1 >= sizeof(ret_words->text))
		return errmsg_set(err, "a command has at most %zu bytes",
				  sizeof(ret_words->text) - 2);
	if (!is_utf8(line))
		return errmsg_set(err, "the command is not UTF-8");
	for (;;) {
		while (is_blank(*at))
			at++;
		if (*at == 0 || *at == '#')
			return 0;
		if (ret_words->count == CONTROL_WORDS_MAX)
			return errmsg_set(err, "a command has at most %d words", CONTROL_WORDS_MAX);
		ret_words->word[ret_words->count++] = out;
		at = lex_word(at, &out, err);
		if (!at)
			return -EINVAL;
	}
}

int control_words_set(const char *const *words, size_t count, struct control_words *ret_words,
		      struct errmsg *err)
{
	char *out = ret_words->text;
	size_t room = sizeof(ret_words->text);

	ret_words->count = 0;
	if (count > CONTROL_WORDS_MAX)
		return errmsg_set(err, "a command has at most %d words", CONTROL_WORDS_MAX);
	for (size_t i = 0; i < count; i++) {
		size_t bytes = strlen(words[i]) + 1;

		if (bytes > room)
			return errmsg_set(err, "a command has at most %zu bytes",
					  sizeof(ret_words->text) - 2);
		if (!is_utf8(words[i]))
			return errmsg_set(err, "the command is not UTF-8");
		for (const char *c = words[i]; *c; c++)
			if (is_forbidden(*c))
				return errmsg_set(err, "control character 0x%02x",
						  (unsigned char)*c);
		memcpy(out, words[i], bytes);
		ret_words->word[ret_words->count++] = out;
		out += bytes;
		room -= bytes;
	}
	return 0;
}

static bool needs_quotes(const char *word)
{
	return !*word || *word == '#' || strpbrk(word, " \t'\"");
}

size_t control_quote(const char *word, char *buffer, size_t buffer_bytes)
{
	bool quotes = needs_quotes(word);
	size_t at = 0;

	/* Counts on behind the end of the buffer, as snprintf() does. */
#define PUT(c)                                                                                     \
	do {                                                                                       \
		if (at + 1 < buffer_bytes)                                                         \
			buffer[at] = (c);                                                          \
		at++;                                                                              \
	} while (0)
	if (quotes)
		PUT('"');
	for (; *word; word++) {
		if (quotes && (*word == '"' || *word == '\\'))
			PUT('\\');
		PUT(*word);
	}
	if (quotes)
		PUT('"');
#undef PUT
	if (buffer_bytes)
		buffer[at < buffer_bytes ? at : buffer_bytes - 1] = 0;
	return at;
}
