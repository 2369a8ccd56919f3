/* SPDX-License-Identifier: BSD-2-Clause */
/* Values that commands take. */
#include "control/value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define TEXT_BYTES_MAX 1024

int control_check_name(const char *text, struct errmsg *err)
{
	size_t bytes = strlen(text);
	size_t good = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789._-");

	if (bytes < 1 || bytes >= PORT_NAME_BYTES || good != bytes)
		return errmsg_set(err, "'%.64s' is no name: 1 to %d of A-Z a-z 0-9 . _ - are", text,
				  PORT_NAME_BYTES - 1);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool scan_mac(const char *text, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++, text += 3) {
		int high = hex_digit(text[0]);
		int low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || text[2] != (i < 5 ? ':' : 0))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

int control_parse_mac(const char *text, uint8_t ret_mac[6], struct errmsg *err)
{
	static const uint8_t zero[6];
	uint8_t mac[6];

	if (!scan_mac(text, mac))
		return errmsg_set(err, "'%.64s' is no MAC address such as 52:54:00:12:34:56", text);
	if (mac[0] & 1)
		return errmsg_set(err, "'%s' is a multicast address, a unicast one is needed",
				  text);
	if (!memcmp(mac, zero, sizeof(mac)))
		return errmsg_set(err, "'%s' is no address that anybody can have", text);
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

/* Digits of @base up to a character that is none. Return: false when there are none, too many */
static bool scan_number(const char **text, unsigned base, uint64_t *ret)
{
	const char *at = *text;
	uint64_t n = 0;

	for (; *at >= '0' && *at < (char)('0' + base); at++) {
		if (n > UINT64_MAX / base - 1)
			return false;
		n = n * base + (uint64_t)(*at - '0');
	}
	if (at == *text)
		return false;
	*text = at;
	*ret = n;
	return true;
}

int control_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number,
			 struct errmsg *err)
{
	const char *end = text;
	uint64_t n;

	if (!scan_number(&end, 10, &n) || *end || n < min || n > max)
		return errmsg_set(err, "'%.64s' is no number from %llu to %llu", text,
				  (unsigned long long)min, (unsigned long long)max);
	*ret_number = n;
	return 0;
}

int control_parse_seconds(const char *text, uint64_t *ret_ns, struct errmsg *err)
{
	const char *unit = text;
	uint64_t n;

	if (scan_number(&unit, 10, &n)) {
		if ((!*unit || !strcmp(unit, "s")) && n <= CONTROL_SECONDS_MAX) {
			*ret_ns = n * NS_PER_S;
			return 0;
		}
		if (!strcmp(unit, "ms") && n <= CONTROL_SECONDS_MAX * 1000ull) {
			*ret_ns = n * NS_PER_MS;
			return 0;
		}
	}
	return errmsg_set(err, "'%.64s' is no time such as 10, 10s or 500ms, at most %d s", text,
			  CONTROL_SECONDS_MAX);
}

static int check_octal(const struct port_key *key, const char *text, struct errmsg *err)
{
	const char *end = text;
	uint64_t n;

	if (!scan_number(&end, 8, &n) || *end || n < key->min || n > key->max)
		return errmsg_set(err, "'%.64s' is no octal number from %04llo to %04llo", text,
				  (unsigned long long)key->min, (unsigned long long)key->max);
	return 0;
}

static int check_choice(const struct port_key *key, const char *text, struct errmsg *err)
{
	size_t length = strlen(text);

	for (const char *at = key->choices;; at++) {
		size_t bytes = strcspn(at, "|");

		if (bytes == length && !strncmp(at, text, bytes))
			return 0;
		at += bytes;
		if (!*at)
			break;
	}
	return errmsg_set(err, "'%.64s' is none of %s", text, key->choices);
}

static int check_text(const struct port_key *key, const char *text, struct errmsg *err)
{
	size_t bytes = strlen(text);
	size_t most = key->max ? (size_t)key->max : TEXT_BYTES_MAX;

	if (bytes < (key->min ? key->min : 1) || bytes > most)
		return errmsg_set(err, "has %zu bytes, %llu to %zu are possible", bytes,
				  (unsigned long long)(key->min ? key->min : 1), most);
	return 0;
}

static int check_value(const struct port_key *key, const char *text, struct errmsg *err)
{
	uint64_t number;
	uint8_t mac[6];

	switch (key->kind) {
	case PORT_KEY_TEXT:
		return check_text(key, text, err);
	case PORT_KEY_NUMBER:
		return control_parse_number(text, key->min, key->max, &number, err);
	case PORT_KEY_MAC:
		return control_parse_mac(text, mac, err);
	case PORT_KEY_CHOICE:
		return check_choice(key, text, err);
	case PORT_KEY_OCTAL:
		return check_octal(key, text, err);
	}
	return errmsg_set(err, "has a kind that nobody can write");
}

int control_check_port_value(const struct port_key *key, const char *text, struct errmsg *err)
{
	struct errmsg why;

	if (check_value(key, text, &why))
		return errmsg_set(err, "key '%s': %.300s", key->name, why.text);
	return 0;
}

const char *control_port_key_usage(const struct port_key *key, char *buffer, size_t buffer_bytes)
{
	switch (key->kind) {
	case PORT_KEY_NUMBER:
		snprintf(buffer, buffer_bytes, "%s N", key->name);
		break;
	case PORT_KEY_MAC:
		snprintf(buffer, buffer_bytes, "%s MAC", key->name);
		break;
	case PORT_KEY_OCTAL:
		snprintf(buffer, buffer_bytes, "%s OCTAL", key->name);
		break;
	case PORT_KEY_CHOICE:
	case PORT_KEY_TEXT:
		snprintf(buffer, buffer_bytes, "%s %s", key->name,
			 key->choices ? key->choices : "TEXT");
		break;
	}
	return buffer;
}
