/* SPDX-License-Identifier: BSD-2-Clause */
/* Little-endian words as they lie in shared memory: wrapped, so that a mix-up won't compile. */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>

typedef struct {
	uint16_t raw;
} le16;

typedef struct {
	uint32_t raw;
} le32;

typedef struct {
	uint64_t raw;
} le64;

static inline uint16_t le16_get(le16 x)
{
	return le16toh(x.raw);
}

static inline uint32_t le32_get(le32 x)
{
	return le32toh(x.raw);
}

static inline uint64_t le64_get(le64 x)
{
	return le64toh(x.raw);
}

static inline le16 le16_make(uint16_t x)
{
	return (le16){htole16(x)};
}

static inline le32 le32_make(uint32_t x)
{
	return (le32){htole32(x)};
}

static inline le64 le64_make(uint64_t x)
{
	return (le64){htole64(x)};
}

/* A guest-physical address. Only mem/ turns one into a pointer. */
typedef struct {
	uint64_t addr;
} gpa;

#endif
