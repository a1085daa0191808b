/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A GInputStream as the core reads it: once, from its beginning, on any of the library's threads, one at a time. */

#pragma once

#include <gio/gio.h>

#include "imago-core.h"

G_BEGIN_DECLS

typedef struct
{
  ImgByteStream core;
  GInputStream *input;
  GMainContext *context; /* of the thread that reads, while it does */
  GCancellable *cancellable;
  ImgCancel *cancel; /* borrowed */

  /* Of the read in flight. */
  gboolean is_done;
  gssize n_read;
  GError *error;
} ImagoByteStream;

/* Takes a reference to @input and does not close it. @cancel is valid as long as @self is. */
void imago_byte_stream_init  (ImagoByteStream *self, GInputStream *input, ImgCancel *cancel);
void imago_byte_stream_clear (ImagoByteStream *self);

G_END_DECLS
