/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-convert-job.h"
#include "imago-core.h"
#include "imago-create-options-private.h"
#include "imago-job-private.h"

G_BEGIN_DECLS

/* What a run, or a plan, works on: a copy of the properties in words of the core, with all images held. */
typedef struct
{
  GPtrArray *states; /* of ImagoImageState, held: the sources', then the target's */
  ImagoCreation *creation; /* NULL with a target */
  ImgImage **images;
  ImgConvertOptions options;
} ImagoConversion;

struct _ImagoConvertJob
{
  ImagoJob parent_instance;

  GPtrArray *sources; /* of ImagoImage */
  GInputStream *source_stream;
  ImagoStreamWrapping wrapping;
  char *sha256;
  ImagoImage *target;
  GOutputStream *target_stream;
  GFile *destination;
  char *format_name;
  ImagoCreateOptions *create_options;
  gboolean overwrite;
  gboolean check_space;
  gboolean durable;
  gboolean target_is_zero;
  gboolean compress;
  gboolean allocate_all;
  gboolean copy_bitmaps;
  gboolean skip_broken_bitmaps;
  gboolean salvage;
  gboolean verify;
  int compression_level;
  guint zero_grain;
  guint64 offset;
  guint64 length;

  ImgStreamSource stream; /* what of it is read while the job runs is atomic */

  /* Of the last run; written by workers, one at a time. */
  GMutex mutex;
  GArray *salvaged; /* of Range, no more than MAX_RANGES */
  guint64 salvaged_bytes;

  ImagoConversion *conversion; /* while it runs */
};

ImagoConversion *imago_conversion_new  (ImagoConvertJob *job, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void             imago_conversion_free (gpointer conversion);

G_END_DECLS
