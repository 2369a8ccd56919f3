/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of a line: splitting, quoting, comments, and that quoting is undone by reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "control/lexer.h"
#include "control/suggest.h"

static struct control_words words;
static struct errmsg err;

static void expect(const char *line, unsigned count, const char *const *expected)
{
	if (control_lex(line, &words, &err))
		fail_msg("'%s': %s", line, err.text);
	assert_int_equal(words.count, count);
	for (unsigned i = 0; i < count; i++)
		assert_string_equal(words.word[i], expected[i]);
}

#define EXPECT(line, ...)                                                                          \
	do {                                                                                       \
		static const char *const w[] = {__VA_ARGS__};                                      \
		expect(line, ARRAY_SIZE(w), w);                                                    \
	} while (0)

static void test_blanks_split(void **state)
{
	(void)state;
	EXPECT("port add a null", "port", "add", "a", "null");
	EXPECT(" \t port\t\tshow  ", "port", "show");
	expect("", 0, NULL);
	expect(" \t ", 0, NULL);
}

static void test_quotes_group(void **state)
{
	(void)state;
	EXPECT("socket '/run/a b'", "socket", "/run/a b");
	EXPECT("socket \"/run/a b\"", "socket", "/run/a b");
	EXPECT("/run/'a b'/c", "/run/a b/c");
	EXPECT("'' \"\"", "", "");
	EXPECT("'it is \"so\"'", "it is \"so\"");
	EXPECT("\"a \\\"b\\\" \\\\ \\c\"", "a \"b\" \\ \\c");
	EXPECT("'\\' \\", "\\", "\\");
	EXPECT("\"# no\" '# no'", "# no", "# no");
}

static void test_comments(void **state)
{
	(void)state;
	expect("# port add", 0, NULL);
	expect("   # 'unclosed", 0, NULL);
	EXPECT("port show # all", "port", "show");
	EXPECT("a#b c", "a#b", "c");
}

static void test_refused(void **state)
{
	(void)state;
	assert_true(control_lex("port 'add", &words, &err) < 0);
	assert_non_null(strstr(err.text, "quote '"));
	assert_true(control_lex("port \"add\\\"", &words, &err) < 0);
	assert_non_null(strstr(err.text, "quote \""));
	assert_true(control_lex("port\x1b[2J", &words, &err) < 0);
	assert_non_null(strstr(err.text, "0x1b"));
	assert_true(control_lex("'a\nb'", &words, &err) < 0);
	assert_true(control_lex("a\x7f", &words, &err) < 0);
	assert_true(control_lex("a\xff", &words, &err) < 0);
	assert_non_null(strstr(err.text, "UTF-8"));
	EXPECT("\xc3\xa4 b", "\xc3\xa4", "b");
}

static void test_bounds(void **state)
{
	const size_t end = 2 * (size_t)CONTROL_WORDS_MAX;
	char line[CONTROL_LINE_BYTES + 100];

	(void)state;
	memset(line, 'a', sizeof(line));
	line[CONTROL_LINE_BYTES - 2] = 0;
	assert_int_equal(control_lex(line, &words, &err), 0);
	assert_int_equal(strlen(words.word[0]), CONTROL_LINE_BYTES - 2);
	line[CONTROL_LINE_BYTES - 2] = 'a';
	line[CONTROL_LINE_BYTES - 1] = 0;
	assert_true(control_lex(line, &words, &err) < 0);

	for (size_t i = 0; i <= CONTROL_WORDS_MAX; i++) {
		line[2 * i] = 'w';
		line[2 * i + 1] = ' ';
	}
	line[end] = 0;
	assert_int_equal(control_lex(line, &words, &err), 0);
	assert_int_equal(words.count, CONTROL_WORDS_MAX);
	line[end] = 'w';
	line[end + 1] = 0;
	assert_true(control_lex(line, &words, &err) < 0);
}

static void test_words_as_given(void **state)
{
	static const char *const given[] = {"port", "a b", "", "#"};
	static const char *const latin1[] = {"\xe4"};
	static const char *const forged[] = {"a\nb"};
	static char large[CONTROL_LINE_BYTES + 1];
	const char *const too_large[] = {large};

	(void)state;
	assert_int_equal(control_words_set(given, 4, &words, &err), 0);
	assert_int_equal(words.count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_string_equal(words.word[i], given[i]);
	assert_true(control_words_set(forged, 1, &words, &err) < 0);
	assert_true(control_words_set(latin1, 1, &words, &err) < 0);
	memset(large, 'a', CONTROL_LINE_BYTES);
	assert_true(control_words_set(too_large, 1, &words, &err) < 0);
	assert_true(control_words_set(given, CONTROL_WORDS_MAX + 1, &words, &err) < 0);
}

static void test_quoting_is_undone(void **state)
{
	static const char alphabet[] = "ab \t'\"\\#";
	char word[6], quoted[32];

	(void)state;
	/* Every word of up to five characters of the alphabet. */
	for (unsigned n = 0; n < 8 * 8 * 8 * 8 * 8; n++) {
		unsigned rest = n;
		unsigned length = 0;

		for (; length < 5 && (rest || length == 0); rest /= 8)
			word[length++] = alphabet[rest % 8];
		word[n == 0 ? 0 : length] = 0;
		assert_true(control_quote(word, quoted, sizeof(quoted)) < sizeof(quoted));
		if (control_lex(quoted, &words, &err))
			fail_msg("%s as %s: %s", word, quoted, err.text);
		assert_int_equal(words.count, 1);
		assert_string_equal(words.word[0], word);
	}
}

static void test_quoting_is_bounded(void **state)
{
	char small[4] = "xxx";

	(void)state;
	assert_int_equal(control_quote("a b", small, sizeof(small)), 5);
	assert_string_equal(small, "\"a ");
	assert_int_equal(control_quote("plain", NULL, 0), 5);
}

static const char *suggestion(const char *typed)
{
	static char text[80];
	struct control_suggestion s;

	control_suggest_init(&s, typed);
	control_suggest_offer(&s, "queues");
	control_suggest_offer(&s, "socket");
	control_suggest_offer(&s, "mode");
	return control_suggest_text(&s, text);
}

static void test_suggestions(void **state)
{
	(void)state;
	assert_string_equal(suggestion("que"), "; did you mean 'queues'?");
	assert_string_equal(suggestion("qeueus"), "; did you mean 'queues'?");
	assert_string_equal(suggestion("sockte"), "; did you mean 'socket'?");
	assert_string_equal(suggestion("mod"), "; did you mean 'mode'?");
	assert_string_equal(suggestion("perm"), "");
	assert_string_equal(suggestion("quite-something-else-that-is-very-long-indeed"), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blanks_split),
		cmocka_unit_test(test_quotes_group),
		cmocka_unit_test(test_comments),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_words_as_given),
		cmocka_unit_test(test_quoting_is_undone),
		cmocka_unit_test(test_quoting_is_bounded),
		cmocka_unit_test(test_suggestions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
