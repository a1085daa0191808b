/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How much room a new image needs, before it is made. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef struct
{
  guint64 required;        /* bytes of all its files, with the data of the source; without one, empty */
  guint64 fully_allocated; /* bytes once all of the disk has been written */
  gboolean has_bitmaps;    /* source and target can have persistent bitmaps */
  guint64 bitmaps;         /* bytes more if those of the source are copied too */
} ImgMeasurement;

/* @source: NULL: for an empty disk of options->size bytes; otherwise that is of no account. The numbers are
 * those of qemu-img: an upper bound of what the metadata takes, and no thought of compression. With a backing
 * file in @options nobody knows what data will be left out, so that all counts. */
gboolean img_measure (const ImgDriver *driver, const ImgCreateOptions *options, ImgImage *source,
                      ImgProgress *progress, ImgCancel *cancel, ImgMeasurement *measurement,
                      ImgError **error);

/* The bytes of all units of @unit bytes in which the disk has data that may not be zero. @flags: of its map; holes of
 * the host are always seen. */
gboolean img_measure_data (ImgImage *source, guint64 unit, ImgBlockMapFlags flags, guint64 *n_bytes,
                           ImgProgress *progress, ImgCancel *cancel, ImgError **error);

/* What of @measurement is about bitmaps, which stays 0 if the new image cannot have any. */
gboolean img_measure_bitmaps (const ImgDriver *driver, const ImgFootprint *footprint, ImgImage *source,
                              ImgMeasurement *measurement, ImgError **error);

G_END_DECLS
