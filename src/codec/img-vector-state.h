/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* ISA-L returns with the upper halves of the vector registers in use. Until they are cleared, code that was compiled
 * for older processors runs at half its speed on some newer ones: measured, zlib after ISA-L. */

#pragma once

#include <glib.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>

__attribute__ ((target ("avx"))) static void
img_vector_state_clear_avx (void)
{
  _mm256_zeroupper ();
}

static inline void
img_vector_state_clear (void)
{
  if (__builtin_cpu_supports ("avx"))
    img_vector_state_clear_avx ();
}

#else

static inline void
img_vector_state_clear (void)
{
}

#endif
