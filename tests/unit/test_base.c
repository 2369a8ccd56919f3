/* SPDX-License-Identifier: BSD-2-Clause */
/* base: list, log lines, error lines, little-endian words, clock, lock and counter. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/endian.h"
#include "base/errmsg.h"
#include "base/list.h"
#include "base/log.h"
#include "base/spinlock.h"

struct item {
	int value;
	struct list node;
};

static int sum(struct list *head)
{
	int total = 0;

	list_for_each (node, head)
		total = total * 10 + list_entry(node, struct item, node)->value;
	return total;
}

static void list_keeps_order(void **state)
{
	struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
	struct list head;

	(void)state;
	list_init(&head);
	assert_true(list_is_empty(&head));
	for (unsigned i = 0; i < 3; i++)
		list_push_back(&head, &items[i].node);
	assert_int_equal(sum(&head), 123);
	list_remove(&items[1].node);
	assert_int_equal(sum(&head), 13);
	list_remove(&items[1].node); /* twice is harmless */
	assert_int_equal(sum(&head), 13);
	list_push_back(&head, &items[1].node);
	assert_int_equal(sum(&head), 132);
}

static void list_survives_removal_while_walking(void **state)
{
	struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
	struct list head;
	int seen = 0;

	(void)state;
	list_init(&head);
	for (unsigned i = 0; i < 3; i++)
		list_push_back(&head, &items[i].node);
	list_for_each_safe (node, &head) {
		seen++;
		list_remove(node);
	}
	assert_int_equal(seen, 3);
	assert_true(list_is_empty(&head));
}

/* What log_write() sends to stderr. */
static char *logged(enum log_level level, const char *text)
{
	static char line[4096];
	int saved = dup(STDERR_FILENO);
	int ends[2];
	ssize_t got;

	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	log_write(level, "%s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	got = read(ends[0], line, sizeof(line) - 1);
	line[got < 0 ? 0 : got] = '\0';
	close(ends[0]);
	close(ends[1]);
	close(saved);
	return line;
}

static void log_lines_cannot_be_forged(void **state)
{
	(void)state;
	assert_string_equal(logged(LOG_LEVEL_WARN, "a\nlastref: error: b\x1b[2J"),
			    "lastref: warning: a?lastref: error: b?[2J\n");
}

static void log_cuts_what_is_too_long(void **state)
{
	char text[3000];
	const char *line;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	line = logged(LOG_LEVEL_ERROR, text);
	assert_true(strlen(line) < 2048);
	assert_int_equal(line[strlen(line) - 1], '\n');
	assert_int_equal(strspn(line + strlen("lastref: error: "), "x"),
			 strlen(line) - strlen("lastref: error: ") - 1);
}

static void log_keeps_to_its_level(void **state)
{
	(void)state;
	assert_string_equal(logged(LOG_LEVEL_DEBUG, "x"), "");
	log_set_level(LOG_LEVEL_DEBUG);
	assert_string_equal(logged(LOG_LEVEL_DEBUG, "x"), "lastref: debug: x\n");
	log_set_level(LOG_LEVEL_INFO);
}

static void errmsg_returns_einval_and_cuts(void **state)
{
	struct errmsg err;
	char text[2 * ERRMSG_BYTES];

	(void)state;
	assert_int_equal(errmsg_set(&err, "port %s: %d", "a", 7), -EINVAL);
	assert_string_equal(err.text, "port a: 7");
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	errmsg_set(&err, "%s", text);
	assert_int_equal(strlen(err.text), ERRMSG_BYTES - 1);
}

static void endian_words_are_little(void **state)
{
	le16 a = le16_make(0x0102);
	le32 b = le32_make(0x01020304);
	le64 c = le64_make(0x0102030405060708);

	(void)state;
	assert_memory_equal(&a, "\x02\x01", 2);
	assert_memory_equal(&b, "\x04\x03\x02\x01", 4);
	assert_memory_equal(&c, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
	assert_int_equal(le16_get(a), 0x0102);
	assert_int_equal(le32_get(b), 0x01020304);
	assert_int_equal(le64_get(c), 0x0102030405060708);
}

static void clock_stands_still_when_told(void **state)
{
	uint64_t before = clock_now_ns();

	(void)state;
	assert_true(clock_now_ns() >= before);
	clock_set_virtual(5);
	assert_int_equal(clock_now_ns(), 5);
	clock_set_virtual(0);
	assert_true(clock_now_ns() >= before);
}

static void spinlock_is_held_once(void **state)
{
	struct spinlock lock = {0};

	(void)state;
	assert_true(spinlock_try(&lock));
	assert_false(spinlock_try(&lock));
	spinlock_unlock(&lock);
	spinlock_lock(&lock);
	assert_false(spinlock_try(&lock));
	spinlock_unlock(&lock);
}

static void counter_adds_past_32_bits(void **state)
{
	struct counter c = {0};

	(void)state;
	counter_add(&c, UINT32_MAX);
	counter_add(&c, 2);
	assert_int_equal(counter_get(&c), 0x100000001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_keeps_order),
		cmocka_unit_test(list_survives_removal_while_walking),
		cmocka_unit_test(log_lines_cannot_be_forged),
		cmocka_unit_test(log_cuts_what_is_too_long),
		cmocka_unit_test(log_keeps_to_its_level),
		cmocka_unit_test(errmsg_returns_einval_and_cuts),
		cmocka_unit_test(endian_words_are_little),
		cmocka_unit_test(clock_stands_still_when_told),
		cmocka_unit_test(spinlock_is_held_once),
		cmocka_unit_test(counter_adds_past_32_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
