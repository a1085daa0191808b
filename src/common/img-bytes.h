/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Numbers as they stand in a file, and arithmetic on numbers that somebody else wrote. */

#pragma once

#include <glib.h>
#include <string.h>

static inline guint16
img_read_be16 (const void *bytes)
{
  guint16 value;

  memcpy (&value, bytes, sizeof value);
  return GUINT16_FROM_BE (value);
}

static inline guint32
img_read_be32 (const void *bytes)
{
  guint32 value;

  memcpy (&value, bytes, sizeof value);
  return GUINT32_FROM_BE (value);
}

static inline guint64
img_read_be64 (const void *bytes)
{
  guint64 value;

  memcpy (&value, bytes, sizeof value);
  return GUINT64_FROM_BE (value);
}

/* Comparing a buffer with itself one byte on is the fastest test that libc has. */
static inline gboolean
img_is_zero (const guint8 *data, gsize length)
{
  return length == 0 || (data[0] == 0 && memcmp (data, data + 1, length - 1) == 0);
}

static inline gboolean
img_is_power_of_two (guint64 value)
{
  return value != 0 && (value & (value - 1)) == 0;
}

/* @granularity must be a power of two in all four. */
static inline guint64
img_align_down (guint64 value, guint64 granularity)
{
  return value & ~(granularity - 1);
}

/* The caller knows that value <= IMG_MAX_SIZE or otherwise that this cannot wrap. */
static inline guint64
img_align_up (guint64 value, guint64 granularity)
{
  return (value + granularity - 1) & ~(granularity - 1);
}

static inline gboolean
img_is_aligned (guint64 value, guint64 granularity)
{
  return (value & (granularity - 1)) == 0;
}

static inline guint64
img_div_round_up (guint64 value, guint64 divisor)
{
  return value / divisor + (value % divisor != 0);
}

/* TRUE when [offset, offset + length) lies inside [0, limit). */
static inline gboolean
img_range_fits (guint64 offset, guint64 length, guint64 limit)
{
  return offset <= limit && length <= limit - offset;
}
