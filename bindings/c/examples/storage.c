/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A storage written in C: a disk image in a block of memory, which any thread may use at once, so that requests are
 * answered right where they come up. It is loaded from one file, changed, and saved to another.
 * usage: storage IMAGE.qcow2 OUTPUT.qcow2 TEXT */

#include <imago-glib/imago-glib.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_TYPE_STORAGE (arena_storage_get_type ())
G_DECLARE_FINAL_TYPE (ArenaStorage, arena_storage, ARENA, STORAGE, ImagoStorage)

struct _ArenaStorage
{
  ImagoStorage parent_instance;

  GRWLock lock; /* the memory moves when it grows */
  GByteArray *bytes;
};

G_DEFINE_FINAL_TYPE (ArenaStorage, arena_storage, IMAGO_TYPE_STORAGE)

/* With the lock for writing. */
static gboolean
arena_resize (ArenaStorage *self, guint64 size)
{
  guint old = self->bytes->len;

  if (size > G_MAXUINT)
    return FALSE;
  g_byte_array_set_size (self->bytes, (guint) size);
  if (size > old)
    memset (self->bytes->data + old, 0, (guint) size - old);
  return TRUE;
}

/* Ranges that are read lie inside the storage. The memory of the request needs no copy in between. */
static void
arena_read (ArenaStorage *self, ImagoStorageRequest *request)
{
  guint64 offset = imago_storage_request_get_offset (request);
  gsize n_vectors;
  const struct iovec *vectors = imago_storage_request_get_vectors (request, &n_vectors);

  g_rw_lock_reader_lock (&self->lock);
  for (gsize i = 0; i < n_vectors; i++)
    {
      memcpy (vectors[i].iov_base, self->bytes->data + offset, vectors[i].iov_len);
      offset += vectors[i].iov_len;
    }
  g_rw_lock_reader_unlock (&self->lock);
}

/* With the lock for writing, and the range inside the memory. */
static void
arena_change (ArenaStorage *self, ImagoStorageRequest *request)
{
  guint64 offset = imago_storage_request_get_offset (request);
  gsize n_vectors;
  const struct iovec *vectors = imago_storage_request_get_vectors (request, &n_vectors);

  if (imago_storage_request_get_operation (request) == IMAGO_STORAGE_OPERATION_WRITE_ZEROES)
    memset (self->bytes->data + offset, 0, imago_storage_request_get_length (request));
  for (gsize i = 0; i < n_vectors; i++)
    {
      memcpy (self->bytes->data + offset, vectors[i].iov_base, vectors[i].iov_len);
      offset += vectors[i].iov_len;
    }
}

static gboolean
arena_write (ArenaStorage *self, ImagoStorageRequest *request)
{
  guint64 end = imago_storage_request_get_offset (request) + imago_storage_request_get_length (request);
  gboolean has_room = TRUE;

  g_rw_lock_writer_lock (&self->lock);
  if (imago_storage_request_get_operation (request) == IMAGO_STORAGE_OPERATION_TRUNCATE || end > self->bytes->len)
    has_room = arena_resize (self, end);
  if (has_room)
    arena_change (self, request);
  g_rw_lock_writer_unlock (&self->lock);
  return has_room;
}

static gboolean
arena_storage_submit (ImagoStorage *storage, ImagoStorageRequest *request, GError **error)
{
  ArenaStorage *self = ARENA_STORAGE (storage);
  guint size;

  switch (imago_storage_request_get_operation (request))
    {
    case IMAGO_STORAGE_OPERATION_READ:
      arena_read (self, request);
      break;
    case IMAGO_STORAGE_OPERATION_QUERY_SIZE:
      g_rw_lock_reader_lock (&self->lock);
      size = self->bytes->len;
      g_rw_lock_reader_unlock (&self->lock);
      imago_storage_request_return_size (request, size);
      return TRUE;
    case IMAGO_STORAGE_OPERATION_WRITE:
    case IMAGO_STORAGE_OPERATION_WRITE_ZEROES:
    case IMAGO_STORAGE_OPERATION_TRUNCATE:
      if (arena_write (self, request))
        break;
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "The arena is full");
      return FALSE;
    case IMAGO_STORAGE_OPERATION_DISCARD: /* space is left where it is */
    case IMAGO_STORAGE_OPERATION_FLUSH:   /* nothing here outlives the program */
    default:
      break;
    }
  imago_storage_request_return_done (request);
  return TRUE;
}

static void
arena_storage_finalize (GObject *object)
{
  ArenaStorage *self = ARENA_STORAGE (object);

  g_byte_array_unref (self->bytes);
  g_rw_lock_clear (&self->lock);
  G_OBJECT_CLASS (arena_storage_parent_class)->finalize (object);
}

static void
arena_storage_class_init (ArenaStorageClass *klass)
{
  ImagoStorageClass *storage_class = IMAGO_STORAGE_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = arena_storage_finalize;
  storage_class->submit = arena_storage_submit;
  imago_storage_class_set_thread_safe (storage_class);
}

static void
arena_storage_init (ArenaStorage *self)
{
  g_rw_lock_init (&self->lock);
  self->bytes = g_byte_array_new ();
}

static gboolean
show_and_change (ImagoStorage *storage, const char *text, GError **error)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GBytes) bytes = g_bytes_new (text, strlen (text));
  g_autoptr (GBytes) back = NULL;

  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_writable (options, TRUE);
  image = imago_image_open_storage (storage, options, NULL, error);
  if (image == NULL || !imago_image_write_bytes (image, 1000, bytes, NULL, error))
    return FALSE;
  back = imago_image_read_bytes (image, 1000, strlen (text), NULL, error);
  if (back == NULL)
    return FALSE;
  g_print ("%.*s\n", (int) g_bytes_get_size (back), (const char *) g_bytes_get_data (back, NULL));
  return imago_image_close (image, NULL, error);
}

static gboolean
run (const char *source, const char *target, const char *text, GError **error)
{
  g_autoptr (ArenaStorage) storage = g_object_new (ARENA_TYPE_STORAGE, "name", "arena", "writable", TRUE, NULL);
  g_autofree char *content = NULL;
  gsize length;

  if (!g_file_get_contents (source, &content, &length, error))
    return FALSE;
  g_byte_array_append (storage->bytes, (const guint8 *) content, (guint) length);
  if (!show_and_change (IMAGO_STORAGE (storage), text, error))
    return FALSE;
  g_print ("%u bytes\n", storage->bytes->len);
  return g_file_set_contents (target, (const char *) storage->bytes->data, storage->bytes->len, error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  setlocale (LC_ALL, "");
  if (argc == 4 && run (argv[1], argv[2], argv[3], &error))
    return EXIT_SUCCESS;
  g_printerr ("%s\n", error != NULL ? error->message : "usage: storage IMAGE.qcow2 OUTPUT.qcow2 TEXT");
  return EXIT_FAILURE;
}
