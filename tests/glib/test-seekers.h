/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Streams that are slow, short and failing, and a file that is not local. */

#pragma once

#include <gio/gio.h>

/* What the two sides of a stream have in common; each has its own position. */
typedef struct
{
  GByteArray *bytes;
  gsize max_read;      /* a read is never longer; 0: no limit */
  gint fails_at;       /* this call fails, counted down from it, and all that follow; 0: none does */
  gboolean is_mute;    /* sets no error when it fails */
  guint64 shift;       /* its first byte lies there */
  gboolean cannot_seek;
  gboolean goes_astray; /* it stays where it is, and reports that it went */
  gboolean is_lost;     /* it cannot tell where it is */
  gboolean cannot_truncate;
  gboolean refuses_to_grow; /* when it is truncated */
  gboolean truncates_badly; /* it is done, and reported as a failure */
  gsize ends_at;       /* reading ends here although the size is larger; 0: it does not */

  gint n_calls;        /* atomic, as the next one */
  gint n_inside;       /* never above 1: one operation at a time */
  GMutex mutex;        /* what follows */
  GCond changed;
  gboolean is_shut;    /* a read waits */
  guint n_waiting;
} TestSeeker;

/* Takes @bytes. The streams have references of their own. */
TestSeeker   *test_seeker_new         (GByteArray *bytes);
void          test_seeker_unref       (TestSeeker *self);
void          test_seeker_shut        (TestSeeker *self);
void          test_seeker_open        (TestSeeker *self);
/* Returns when a read waits. */
void          test_seeker_wait_inside (TestSeeker *self);
GInputStream *test_seeker_make_input  (TestSeeker *self);
GIOStream    *test_seeker_make_io     (TestSeeker *self);

/* A file without a local path whose streams are those of @local; NULL: it is not mounted. */
GFile        *test_remote_new         (GFile *local);
