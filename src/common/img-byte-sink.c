/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-byte-sink.h"

#include "img-alloc.h"

#define BUFFER_SIZE (256 * IMG_KIB)
#define ZEROES_LENGTH (64 * IMG_KIB)

gboolean
img_sink_writer_init (ImgSinkWriter *writer, const ImgByteSink *sink, ImgError **error)
{
  *writer = (ImgSinkWriter){ .sink = sink, .buffer = img_try_alloc (BUFFER_SIZE, error) };
  return writer->buffer != NULL;
}

void
img_sink_writer_clear (ImgSinkWriter *writer)
{
  g_clear_pointer (&writer->buffer, img_free);
}

static gboolean
write_out (ImgSinkWriter *writer, gconstpointer bytes, gsize length, ImgError **error)
{
  return writer->sink->write (writer->sink->data, bytes, length, error);
}

static gboolean
empty_buffer (ImgSinkWriter *writer, ImgError **error)
{
  gsize length = writer->filled;

  writer->filled = 0;
  return length == 0 || write_out (writer, writer->buffer, length, error);
}

gboolean
img_sink_writer_put (ImgSinkWriter *writer, gconstpointer bytes, gsize length, ImgError **error)
{
  if (length > BUFFER_SIZE - writer->filled && !empty_buffer (writer, error))
    return FALSE;
  writer->position += length;
  if (length >= BUFFER_SIZE)
    return write_out (writer, bytes, length, error);
  memcpy (writer->buffer + writer->filled, bytes, length);
  writer->filled += length;
  return TRUE;
}

gboolean
img_sink_writer_put_be64 (ImgSinkWriter *writer, guint64 value, ImgError **error)
{
  guint64 be = GUINT64_TO_BE (value);

  return img_sink_writer_put (writer, &be, sizeof be, error);
}

gboolean
img_sink_writer_put_zeroes (ImgSinkWriter *writer, guint64 position, ImgError **error)
{
  static const guint8 zeroes[ZEROES_LENGTH];
  guint64 length = position - writer->position;

  g_assert (position >= writer->position);
  if (length < ZEROES_LENGTH)
    return img_sink_writer_put (writer, zeroes, (gsize) length, error);
  if (!empty_buffer (writer, error))
    return FALSE;
  for (gsize part; length > 0; length -= part)
    {
      part = (gsize) MIN (length, ZEROES_LENGTH);
      if (!write_out (writer, zeroes, part, error))
        return FALSE;
      writer->position += part;
    }
  return TRUE;
}

gboolean
img_sink_writer_flush (ImgSinkWriter *writer, ImgError **error)
{
  return empty_buffer (writer, error) && writer->sink->flush (writer->sink->data, error);
}
