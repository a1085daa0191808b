/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-convert-job.h"
#include "imago-core.h"
#include "imago-create-options-private.h"

G_BEGIN_DECLS

/* What a run, or a plan, works on: a copy of the properties in words of the core, with all images held. */
typedef struct
{
  GPtrArray *states; /* of ImagoImageState, held: the sources', then the target's */
  ImagoCreation *creation; /* NULL with a target */
  ImgImage **images;
  ImgConvertOptions options;
} ImagoConversion;

ImagoConversion *imago_conversion_new  (ImagoConvertJob *job, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void             imago_conversion_free (gpointer conversion);

G_END_DECLS
