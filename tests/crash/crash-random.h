/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A small random generator whose whole state is one word (splitmix64): a run is replayed from its seed. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  guint64 state;
} CrashRandom;

static inline CrashRandom
crash_random (guint64 seed)
{
  return (CrashRandom) { seed * 0x9e3779b97f4a7c15u + 1 };
}

static inline guint64
crash_random_next (CrashRandom *random)
{
  guint64 x = random->state += 0x9e3779b97f4a7c15u;

  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* From 0 to @n - 1; @n > 0. */
static inline guint64
crash_random_below (CrashRandom *random, guint64 n)
{
  return crash_random_next (random) % n;
}

/* TRUE once in @n calls. */
static inline gboolean
crash_random_one_in (CrashRandom *random, guint64 n)
{
  return crash_random_below (random, n) == 0;
}

G_END_DECLS
