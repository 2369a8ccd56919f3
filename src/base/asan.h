/* SPDX-License-Identifier: BSD-2-Clause */
/* AddressSanitizer, told what may not be touched; nothing in other builds. */
#ifndef BASE_ASAN_H
#define BASE_ASAN_H

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define ASAN_BUILD 1
#else
#define ASAN_BUILD				    0
#define ASAN_POISON_MEMORY_REGION(address, bytes)   ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

#endif
