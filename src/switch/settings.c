/* SPDX-License-Identifier: BSD-2-Clause */
/* "switch set KEY VALUE": one table of settings, each with its reader and writer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "switch/internal.h"

/* IEEE 802.1D, 7.9.2 allows 10 s to 1,000,000 s; less is of use in tests. */
#define AGEING_S_MIN 1
#define AGEING_S_MAX 1000000

#define HOLD_LIMIT_US_MIN 10
#define HOLD_LIMIT_US_MAX 1000000

/* A decimal number with one of two units behind it. Return: false when it is none */
static bool number_read(const char *text, const char **ret_unit, uint64_t *ret_number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	*ret_unit = end;
	return errno == 0;
}

static int ageing_set(struct bridge_config *config, const char *value, struct errmsg *err)
{
	const char *unit;
	uint64_t seconds;

	if (!number_read(value, &unit, &seconds) || *unit || seconds < AGEING_S_MIN ||
	    seconds > AGEING_S_MAX)
		return errmsg_set(err, "ageing '%s': expected %d to %d seconds", value,
				  AGEING_S_MIN, AGEING_S_MAX);
	atomic_store(&config->ageing_s, (uint32_t)seconds);
	return 0;
}

static void ageing_get(const struct bridge_config *config, char *buffer, size_t buffer_bytes)
{
	snprintf(buffer, buffer_bytes, "%" PRIu32, atomic_load(&config->ageing_s));
}

static int hold_limit_set(struct bridge_config *config, const char *value, struct errmsg *err)
{
	const char *unit;
	uint64_t us = 0;
	bool ok = number_read(value, &unit, &us);

	if (ok && !strcmp(unit, "ms"))
		us = us > HOLD_LIMIT_US_MAX ? us : us * 1000;
	else
		ok = ok && strcmp(unit, "us") == 0;
	if (!ok || us < HOLD_LIMIT_US_MIN || us > HOLD_LIMIT_US_MAX)
		return errmsg_set(err, "hold-limit '%s': expected %dus to %dms", value,
				  HOLD_LIMIT_US_MIN, HOLD_LIMIT_US_MAX / 1000);
	atomic_store(&config->hold_limit_ns, us * NS_PER_US);
	return 0;
}

static void hold_limit_get(const struct bridge_config *config, char *buffer, size_t buffer_bytes)
{
	snprintf(buffer, buffer_bytes, "%" PRIu64 "us",
		 (uint64_t)(atomic_load(&config->hold_limit_ns) / NS_PER_US));
}

static int zerocopy_set(struct bridge_config *config, const char *value, struct errmsg *err)
{
	bool on = !strcmp(value, "on");

	if (!on && strcmp(value, "off") != 0)
		return errmsg_set(err, "zerocopy '%s': expected on or off", value);
	atomic_store(&config->zerocopy, on);
	return 0;
}

static void zerocopy_get(const struct bridge_config *config, char *buffer, size_t buffer_bytes)
{
	snprintf(buffer, buffer_bytes, "%s", atomic_load(&config->zerocopy) ? "on" : "off");
}

static const struct bridge_key keys[] = {
	{"ageing", "seconds after which an address that is not seen any more is forgotten"},
	{"hold-limit", "longest that a lent buffer is held, such as 1ms or 500us"},
	{"zerocopy", "on, or off: copy every frame at ingress, for comparison"},
	{NULL, NULL},
};

/* In the order of @keys. */
static const struct {
	int (*set)(struct bridge_config *config, const char *value, struct errmsg *err);
	void (*get)(const struct bridge_config *config, char *buffer, size_t buffer_bytes);
} settings[] = {
	{ageing_set, ageing_get},
	{hold_limit_set, hold_limit_get},
	{zerocopy_set, zerocopy_get},
};

static_assert(ARRAY_SIZE(keys) == ARRAY_SIZE(settings) + 1, "a setting for each key");

const struct bridge_key *bridge_keys(void)
{
	return keys;
}

/* Return: its index, or -1 */
static int key_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(keys[i].name, name))
			return (int)i;
	return -1;
}

int bridge_set(struct bridge *br, const char *key, const char *value, struct errmsg *err)
{
	int i = key_find(key);

	if (i < 0)
		return errmsg_set(err, "unknown key '%s'; expected ageing, hold-limit or zerocopy",
				  key);
	return settings[i].set(&br->config, value, err);
}

int bridge_get(const struct bridge *br, const char *key, char *buffer, size_t buffer_bytes)
{
	int i = key_find(key);

	if (i < 0)
		return -EINVAL;
	settings[i].get(&br->config, buffer, buffer_bytes);
	return 0;
}
