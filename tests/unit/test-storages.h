/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Storages that misbehave, wrapped around any other; and a format whose map a test writes down. */

#pragma once

#include "img-image.h"

/* The @nth read from now on (1 is the next) fails with EIO; with @persist all later ones too. 0: none. */
ImgStorage *test_failing_storage_new    (ImgStorage *base);
void        test_failing_storage_arm    (ImgStorage *storage, guint nth, gboolean persist);

/* Counts what passes through. */
typedef struct
{
  guint n_submits;
  guint n_reads;
  guint64 n_bytes;
} TestCounts;

ImgStorage *test_counting_storage_new   (ImgStorage *base);
TestCounts  test_counting_storage_take  (ImgStorage *storage);

/* Completes every request later, from a thread of its own, in an order drawn from @seed; NOWAIT requests
 * would block. */
ImgStorage *test_later_storage_new      (ImgStorage *base, guint seed);

/* Lets all pass until the @nth request, of those that are no reads, from when it was set: that one fails with EIO,
 * and with @persist all later ones; or, where there is a @cancel, it is triggered and the request passes. 0: never. */
ImgStorage *test_trap_storage_new       (ImgStorage *base);
void        test_trap_storage_set       (ImgStorage *storage, guint nth, gboolean persist, ImgCancel *cancel);
/* Whether the trap has been sprung since it was set. */
gboolean    test_trap_storage_is_sprung (ImgStorage *storage);

/* A disk of @size bytes whose byte at each offset is a function of @seed and the offset. */
ImgStorage *test_pattern_storage_new    (guint64 size, guint seed);
guint8      test_pattern_byte           (guint64 offset, guint seed);
/* In memory, to be written. */
ImgStorage *test_copy_storage_new       (GBytes *bytes);

/* What a file takes on the disk, and its length. */
guint64     test_get_usage              (ImgStorage *file);
guint64     test_get_file_size          (ImgStorage *file);

/* An image over a layout that answers with @extents, which must cover the disk in order; their storages are
 * borrowed. A COMPRESSED unit "decodes" by adding one to each of its first unit_length stored bytes, and
 * fails if the first stored byte is 255. */
ImgImage   *test_scripted_image_new     (const ImgExtent *extents, guint n_extents);

/* The image in @storage, open for writing; over a raw disk of test_pattern_storage_new (), unless @backing_size is 0. */
ImgImage   *test_image_open_above       (ImgStorage *storage, const char *format, guint64 backing_size, guint seed);
