/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "test-seekers.h"

#include <string.h>

TestSeeker *
test_seeker_new (GByteArray *bytes)
{
  TestSeeker *self = g_atomic_rc_box_new0 (TestSeeker);

  self->bytes = bytes;
  g_mutex_init (&self->mutex);
  g_cond_init (&self->changed);
  return self;
}

static void
clear (gpointer data)
{
  TestSeeker *self = data;

  g_byte_array_unref (self->bytes);
  g_mutex_clear (&self->mutex);
  g_cond_clear (&self->changed);
}

void
test_seeker_unref (TestSeeker *self)
{
  g_atomic_rc_box_release_full (self, clear);
}

void
test_seeker_shut (TestSeeker *self)
{
  g_mutex_lock (&self->mutex);
  self->is_shut = TRUE;
  g_mutex_unlock (&self->mutex);
}

void
test_seeker_open (TestSeeker *self)
{
  g_mutex_lock (&self->mutex);
  self->is_shut = FALSE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->mutex);
}

void
test_seeker_wait_inside (TestSeeker *self)
{
  g_mutex_lock (&self->mutex);
  while (self->n_waiting == 0)
    g_cond_wait (&self->changed, &self->mutex);
  g_mutex_unlock (&self->mutex);
}

static gboolean
begin (TestSeeker *self, GError **error)
{
  gint n = g_atomic_int_add (&self->n_calls, 1) + 1;

  g_assert_cmpint (g_atomic_int_add (&self->n_inside, 1), ==, 0);
  if (self->fails_at == 0 || n < self->fails_at)
    return TRUE;
  if (!self->is_mute)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "The line is dead");
  return FALSE;
}

static void
end (TestSeeker *self)
{
  g_atomic_int_add (&self->n_inside, -1);
}

static void
wait_at_gate (TestSeeker *self)
{
  g_mutex_lock (&self->mutex);
  self->n_waiting++;
  g_cond_broadcast (&self->changed);
  while (self->is_shut)
    g_cond_wait (&self->changed, &self->mutex);
  self->n_waiting--;
  g_mutex_unlock (&self->mutex);
}

/* ---- seeking, for both sides ---- */

typedef struct
{
  TestSeeker *seeker;
  gsize position;
} Side;

static Side *side_of (gpointer stream);

static goffset
side_tell (GSeekable *seekable)
{
  const Side *side = side_of (seekable);

  return side->seeker->is_lost ? -1 : (goffset) (side->position + side->seeker->shift);
}

static gboolean
side_can_seek (GSeekable *seekable)
{
  return !side_of (seekable)->seeker->cannot_seek;
}

static gboolean
side_seek (GSeekable *seekable, goffset offset, GSeekType type, GCancellable *cancellable, GError **error)
{
  Side *side = side_of (seekable);
  gsize size = side->seeker->bytes->len;
  goffset from = type == G_SEEK_CUR ? (goffset) side->position : type == G_SEEK_END ? (goffset) size : 0;
  goffset target = type == G_SEEK_SET ? offset - (goffset) side->seeker->shift : offset + from;
  gboolean success = begin (side->seeker, error);

  g_assert_false (side->seeker->cannot_seek);
  if (success && (target < 0 || (gsize) target > size))
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "Outside");
      success = FALSE;
    }
  if (success && !side->seeker->goes_astray)
    side->position = (gsize) target;
  end (side->seeker);
  return success;
}

static gboolean
side_can_truncate (GSeekable *seekable)
{
  return G_IS_OUTPUT_STREAM (seekable) && !side_of (seekable)->seeker->cannot_truncate;
}

static gboolean
side_truncate (GSeekable *seekable, goffset size, GCancellable *cancellable, GError **error)
{
  TestSeeker *seeker = side_of (seekable)->seeker;
  gboolean success = begin (seeker, error);
  guint before = seeker->bytes->len;

  g_assert_true (side_can_truncate (seekable));
  if (success && seeker->refuses_to_grow && (guint) size > before)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "Only shorter");
      success = FALSE;
    }
  if (success)
    {
      g_byte_array_set_size (seeker->bytes, (guint) size);
      if ((guint) size > before)
        memset (seeker->bytes->data + before, 0, (guint) size - before);
    }
  if (success && seeker->truncates_badly)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "The answer was lost");
      success = FALSE;
    }
  end (seeker);
  return success;
}

static void
side_seekable_init (GSeekableIface *iface)
{
  iface->tell = side_tell;
  iface->can_seek = side_can_seek;
  iface->seek = side_seek;
  iface->can_truncate = side_can_truncate;
  iface->truncate_fn = side_truncate;
}

/* ---- the reading side ---- */

G_DECLARE_FINAL_TYPE (TestInput, test_input, TEST, INPUT, GInputStream)

struct _TestInput
{
  GInputStream parent_instance;
  Side side;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (TestInput, test_input, G_TYPE_INPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE, side_seekable_init))

static gssize
test_input_read (GInputStream *stream, void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
  Side *side = side_of (stream);
  TestSeeker *seeker = side->seeker;
  gsize limit = seeker->ends_at != 0 ? seeker->ends_at : seeker->bytes->len;
  gboolean success = begin (seeker, error);

  wait_at_gate (seeker);
  count = MIN (count, limit - MIN (side->position, limit));
  if (seeker->max_read != 0)
    count = MIN (count, seeker->max_read);
  if (success)
    {
      memcpy (buffer, seeker->bytes->data + side->position, count);
      side->position += count;
    }
  end (seeker);
  return success ? (gssize) count : -1;
}

static void
test_input_finalize (GObject *object)
{
  test_seeker_unref (side_of (object)->seeker);
  G_OBJECT_CLASS (test_input_parent_class)->finalize (object);
}

static void
test_input_class_init (TestInputClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = test_input_finalize;
  G_INPUT_STREAM_CLASS (klass)->read_fn = test_input_read;
}

static void
test_input_init (TestInput *self)
{
}

/* ---- the writing side ---- */

G_DECLARE_FINAL_TYPE (TestOutput, test_output, TEST, OUTPUT, GOutputStream)

struct _TestOutput
{
  GOutputStream parent_instance;
  Side side;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (TestOutput, test_output, G_TYPE_OUTPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE, side_seekable_init))

static gssize
test_output_write (GOutputStream *stream, const void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
  Side *side = side_of (stream);
  TestSeeker *seeker = side->seeker;
  gboolean success = begin (seeker, error);

  if (seeker->max_read != 0)
    count = MIN (count, seeker->max_read);
  if (success)
    {
      if (side->position + count > seeker->bytes->len)
        g_byte_array_set_size (seeker->bytes, (guint) (side->position + count));
      memcpy (seeker->bytes->data + side->position, buffer, count);
      side->position += count;
    }
  end (seeker);
  return success ? (gssize) count : -1;
}

static gboolean
test_output_flush (GOutputStream *stream, GCancellable *cancellable, GError **error)
{
  TestSeeker *seeker = side_of (stream)->seeker;
  gboolean success = begin (seeker, error);

  end (seeker);
  return success;
}

static void
test_output_finalize (GObject *object)
{
  test_seeker_unref (side_of (object)->seeker);
  G_OBJECT_CLASS (test_output_parent_class)->finalize (object);
}

static void
test_output_class_init (TestOutputClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = test_output_finalize;
  G_OUTPUT_STREAM_CLASS (klass)->write_fn = test_output_write;
  G_OUTPUT_STREAM_CLASS (klass)->flush = test_output_flush;
}

static void
test_output_init (TestOutput *self)
{
}

static Side *
side_of (gpointer stream)
{
  return G_IS_INPUT_STREAM (stream) ? &TEST_INPUT (stream)->side : &TEST_OUTPUT (stream)->side;
}

GInputStream *
test_seeker_make_input (TestSeeker *self)
{
  TestInput *input = g_object_new (test_input_get_type (), NULL);

  input->side.seeker = g_atomic_rc_box_acquire (self);
  return G_INPUT_STREAM (input);
}

GIOStream *
test_seeker_make_io (TestSeeker *self)
{
  g_autoptr (GInputStream) input = test_seeker_make_input (self);
  g_autoptr (TestOutput) output = g_object_new (test_output_get_type (), NULL);

  output->side.seeker = g_atomic_rc_box_acquire (self);
  return g_simple_io_stream_new (input, G_OUTPUT_STREAM (output));
}

/* ---- the file ---- */

G_DECLARE_FINAL_TYPE (TestRemote, test_remote, TEST, REMOTE, GObject)

struct _TestRemote
{
  GObject parent_instance;
  GFile *local;
};

static void test_remote_file_init (GFileIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (TestRemote, test_remote, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (G_TYPE_FILE, test_remote_file_init))

static char *
test_remote_get_path (GFile *file)
{
  return NULL;
}

static char *
test_remote_get_uri (GFile *file)
{
  return g_strdup ("test-remote://host/disk");
}

static gboolean
is_mounted (GFile *file, GError **error)
{
  if (TEST_REMOTE (file)->local != NULL)
    return TRUE;
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_MOUNTED, "Not mounted");
  return FALSE;
}

static GFileInputStream *
test_remote_read (GFile *file, GCancellable *cancellable, GError **error)
{
  if (is_mounted (file, error))
    return g_file_read (TEST_REMOTE (file)->local, cancellable, error);
  return NULL;
}

static GFileIOStream *
test_remote_open_readwrite (GFile *file, GCancellable *cancellable, GError **error)
{
  if (is_mounted (file, error))
    return g_file_open_readwrite (TEST_REMOTE (file)->local, cancellable, error);
  return NULL;
}

static void
test_remote_file_init (GFileIface *iface)
{
  iface->get_path = test_remote_get_path;
  iface->get_uri = test_remote_get_uri;
  iface->read_fn = test_remote_read;
  iface->open_readwrite = test_remote_open_readwrite;
}

static void
test_remote_finalize (GObject *object)
{
  g_clear_object (&TEST_REMOTE (object)->local);
  G_OBJECT_CLASS (test_remote_parent_class)->finalize (object);
}

static void
test_remote_class_init (TestRemoteClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = test_remote_finalize;
}

static void
test_remote_init (TestRemote *self)
{
}

GFile *
test_remote_new (GFile *local)
{
  TestRemote *self = g_object_new (test_remote_get_type (), NULL);

  g_set_object (&self->local, local);
  return G_FILE (self);
}
