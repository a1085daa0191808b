/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where bytes go one behind the other and cannot be taken back: a pipe. */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

typedef struct
{
  /* All of them, or an error, with some of them gone. One call at a time; may wait for long. */
  gboolean (*write) (gpointer data, gconstpointer bytes, gsize length, ImgError **error);
  /* What the sink itself holds back goes out. */
  gboolean (*flush) (gpointer data, ImgError **error);
  /* On any thread: a write that waits, and all that come later, fail at once. */
  void     (*abort) (gpointer data);
  gpointer data;
} ImgByteSink;

/* Gathers what is small; zeroes come out of one buffer that all share. Used by one thread at a time. */
typedef struct
{
  const ImgByteSink *sink;
  guint8 *buffer;
  gsize filled;
  guint64 position; /* how many bytes it was given */
} ImgSinkWriter;

gboolean img_sink_writer_init       (ImgSinkWriter *writer, const ImgByteSink *sink, ImgError **error);
void     img_sink_writer_clear      (ImgSinkWriter *writer);
gboolean img_sink_writer_put        (ImgSinkWriter *writer, gconstpointer bytes, gsize length,
                                     ImgError **error);
gboolean img_sink_writer_put_be64   (ImgSinkWriter *writer, guint64 value, ImgError **error);
/* Zeroes up to @position. */
gboolean img_sink_writer_put_zeroes (ImgSinkWriter *writer, guint64 position, ImgError **error);
/* All of it is out when it returns. */
gboolean img_sink_writer_flush      (ImgSinkWriter *writer, ImgError **error);

G_END_DECLS
