/* SPDX-License-Identifier: BSD-2-Clause */
/* Assertions: always on, in every build. For our own bugs only, never for a guest's values. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <assert.h> /* static_assert */

/**
 * assert_failed() - Say what does not hold and where, then abort
 */
_Noreturn void assert_failed(const char *what, const char *file, int line, const char *function);

#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			assert_failed(#cond, __FILE__, __LINE__, __func__);                        \
	} while (0)

/* VERIFY builds add the checks that walk: free lists, recounts, poison. */
#ifdef LR_VERIFY
#define VERIFY(cond)                                                                               \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			assert_failed(#cond, __FILE__, __LINE__, __func__);                        \
	} while (0)
#else
#define VERIFY(cond)                                                                               \
	do {                                                                                       \
		if (0)                                                                             \
			(void)(cond);                                                              \
	} while (0)
#endif

#endif
