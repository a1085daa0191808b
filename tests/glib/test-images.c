/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "test-images.h"

#define EXTENSION_BACKING_FORMAT 0xe2792acaU
#define EXTENSION_DATA_FILE 0x44415441U
#define INCOMPATIBLE_DATA_FILE (1 << 2)
#define HEADER_LENGTH 104

void
test_put_be32 (GByteArray *bytes, guint offset, guint32 value)
{
  value = GUINT32_TO_BE (value);
  memcpy (bytes->data + offset, &value, sizeof value);
}

void
test_put_be64 (GByteArray *bytes, guint offset, guint64 value)
{
  value = GUINT64_TO_BE (value);
  memcpy (bytes->data + offset, &value, sizeof value);
}

static guint
put_extension (GByteArray *bytes, guint offset, guint32 type, const char *text)
{
  test_put_be32 (bytes, offset, type);
  test_put_be32 (bytes, offset + 4, strlen (text));
  memcpy (bytes->data + offset + 8, text, strlen (text));
  return offset + 8 + ((strlen (text) + 7) & ~7u);
}

/* Clusters: header, refcount table, refcount block, L1 table. */
GByteArray *
test_qcow2_new (const TestQcow2 *what)
{
  GByteArray *bytes = g_byte_array_new ();
  guint64 size = what->size != 0 ? what->size : 1 << 20;
  guint64 l2_reach = (guint64) TEST_QCOW2_CLUSTER * TEST_QCOW2_CLUSTER / 8;
  guint offset = HEADER_LENGTH;

  g_byte_array_set_size (bytes, 4 * TEST_QCOW2_CLUSTER);
  memset (bytes->data, 0, bytes->len);
  memcpy (bytes->data, "QFI\xfb", 4);
  test_put_be32 (bytes, TEST_QCOW2_VERSION, 3);
  test_put_be32 (bytes, 20, 16);
  test_put_be64 (bytes, TEST_QCOW2_SIZE, size);
  test_put_be32 (bytes, TEST_QCOW2_L1_SIZE, (size + l2_reach - 1) / l2_reach);
  test_put_be64 (bytes, TEST_QCOW2_L1_OFFSET, 3 * TEST_QCOW2_CLUSTER);
  test_put_be64 (bytes, 48, TEST_QCOW2_CLUSTER);
  test_put_be32 (bytes, 56, 1);
  test_put_be64 (bytes, TEST_QCOW2_INCOMPATIBLE,
                 what->incompatible | (what->data_file != NULL ? INCOMPATIBLE_DATA_FILE : 0));
  test_put_be32 (bytes, 96, 4);
  test_put_be32 (bytes, 100, HEADER_LENGTH);
  test_put_be64 (bytes, TEST_QCOW2_CLUSTER, 2 * TEST_QCOW2_CLUSTER);
  for (guint i = 0; i < 4; i++)
    bytes->data[2 * TEST_QCOW2_CLUSTER + 2 * i + 1] = 1;

  if (what->backing_format != NULL)
    offset = put_extension (bytes, offset, EXTENSION_BACKING_FORMAT, what->backing_format);
  if (what->data_file != NULL)
    offset = put_extension (bytes, offset, EXTENSION_DATA_FILE, what->data_file);
  offset += 8; /* the end of the extensions */
  if (what->backing != NULL)
    {
      test_put_be64 (bytes, 8, offset);
      test_put_be32 (bytes, 16, strlen (what->backing));
      memcpy (bytes->data + offset, what->backing, strlen (what->backing));
    }
  return bytes;
}

GByteArray *
test_pattern_new (gsize size, guint8 seed)
{
  GByteArray *bytes = g_byte_array_sized_new (size);

  g_byte_array_set_size (bytes, size);
  for (gsize i = 0; i < size; i++)
    bytes->data[i] = (guint8) (seed + i * 7 + (i >> 8) * 13);
  return bytes;
}

char *
test_path (const char *folder, const char *name)
{
  return g_build_filename (folder, name, NULL);
}

char *
test_write (const char *folder, const char *name, GByteArray *bytes)
{
  GError *error = NULL;
  char *path = test_path (folder, name);

  g_file_set_contents_full (path, (const char *) bytes->data, bytes->len, G_FILE_SET_CONTENTS_NONE,
                            0600, &error);
  g_assert_no_error (error);
  g_byte_array_unref (bytes);
  return path;
}

GBytes *
test_to_bytes (GByteArray *bytes)
{
  return g_byte_array_free_to_bytes (bytes);
}

gboolean
test_run (const char *program, ...)
{
  g_autofree char *found = g_find_program_in_path (program);
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autofree char *error_output = NULL;
  GError *error = NULL;
  const char *argument;
  int status = -1;
  va_list args;

  if (found == NULL)
    {
      g_autofree char *reason = g_strdup_printf ("%s is not installed", program);

      g_test_skip (reason);
      return FALSE;
    }
  g_ptr_array_add (argv, found);
  va_start (args, program);
  while ((argument = va_arg (args, const char *)) != NULL)
    g_ptr_array_add (argv, (gpointer) argument);
  va_end (args);
  g_ptr_array_add (argv, NULL);
  g_spawn_sync (NULL, (char **) argv->pdata, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                &error_output, &status, &error);
  g_assert_no_error (error);
  if (!g_spawn_check_wait_status (status, &error))
    g_error ("%s: %s: %s", program, error->message, error_output);
  return TRUE;
}
