/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A GOutputStream as the core writes it: in order, on any of the library's threads, one at a time. */

#pragma once

#include <gio/gio.h>

#include "imago-core.h"

G_BEGIN_DECLS

typedef struct
{
  ImgByteSink core;
  GOutputStream *output;
  gsize max_write;       /* bytes of one call */
  int pipe;              /* descriptor of a pipe that can be filled without waiting; -1: none is known */
  GMainContext *context; /* of the thread that writes, while it does */
  GCancellable *cancellable;
  ImgCancel *cancel; /* borrowed */

  /* Of the call in flight. */
  gboolean is_done;
  gssize n_written;
  GError *error;
} ImagoByteSink;

/* Takes a reference to @output and does not close it. @cancel is valid as long as @self is. */
void imago_byte_sink_init  (ImagoByteSink *self, GOutputStream *output, ImgCancel *cancel);
void imago_byte_sink_clear (ImagoByteSink *self);

G_END_DECLS
