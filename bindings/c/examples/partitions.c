/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Shows the partition table of a disk, MBR or GPT. usage: partitions DISK.qcow2 */

#include <imago-glib/imago-glib.h>
#include <locale.h>
#include <string.h>

#define SECTOR G_GUINT64_CONSTANT (512)

/* The one entry of an MBR that stands before a GPT. */
#define PROTECTIVE 0xee

static guint64
number_at (const guint8 *data, guint size)
{
  guint64 number = 0;

  while (size-- > 0)
    number = number << 8 | data[size];
  return number;
}

/* The first three parts of a GUID are little-endian numbers, the rest are bytes. */
static char *
guid_at (const guint8 *data)
{
  return g_strdup_printf ("%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X", (guint) number_at (data, 4),
                          (guint) number_at (data + 4, 2), (guint) number_at (data + 6, 2), data[8], data[9],
                          data[10], data[11], data[12], data[13], data[14], data[15]);
}

static char *
name_at (const guint8 *data)
{
  GString *name = g_string_new (NULL);

  for (guint i = 0; i < 36 && number_at (data + 2 * i, 2) != 0; i++)
    g_string_append_unichar (name, (gunichar) number_at (data + 2 * i, 2));
  return g_string_free (name, FALSE);
}

static void
show_mbr (const guint8 *sector)
{
  for (guint i = 0; i < 4; i++)
    {
      const guint8 *entry = sector + 446 + 16 * i;

      if (entry[4] != 0)
        g_print ("%u: %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT ", type %02x\n", i + 1,
                 number_at (entry + 12, 4) * SECTOR, number_at (entry + 8, 4) * SECTOR, entry[4]);
    }
}

static void
show_gpt_entry (guint number, const guint8 *entry)
{
  g_autofree char *type = guid_at (entry);
  g_autofree char *name = name_at (entry + 56);
  guint64 first = number_at (entry + 32, 8);
  guint64 last = number_at (entry + 40, 8);

  if (number_at (entry, 8) != 0 || number_at (entry + 8, 8) != 0)
    g_print ("%u: %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT ", type %s%s%s\n", number,
             (last - first + 1) * SECTOR, first * SECTOR, type, *name != '\0' ? ", " : "", name);
}

static gboolean
show_gpt (ImagoImage *disk, GError **error)
{
  g_autoptr (GBytes) header = imago_image_read_bytes (disk, SECTOR, SECTOR, NULL, error);
  g_autoptr (GBytes) entries = NULL;
  const guint8 *data;
  guint64 count, size;

  if (header == NULL)
    return FALSE;
  data = g_bytes_get_data (header, NULL);
  count = number_at (data + 80, 4);
  size = number_at (data + 84, 4);
  /* The disk may lie about itself: no honest table is larger than this. */
  if (memcmp (data, "EFI PART", 8) != 0 || count > 1024 || size < 128 || size > 4096)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the partition table is damaged");
      return FALSE;
    }
  entries = imago_image_read_bytes (disk, number_at (data + 72, 8) * SECTOR, count * size, NULL, error);
  if (entries == NULL)
    return FALSE;
  data = g_bytes_get_data (entries, NULL);
  for (guint i = 0; i < count; i++)
    show_gpt_entry (i + 1, data + i * size);
  return TRUE;
}

static gboolean
show (ImagoImage *disk, GError **error)
{
  g_autoptr (GBytes) bytes = imago_image_read_bytes (disk, 0, SECTOR, NULL, error);
  const guint8 *sector;

  if (bytes == NULL)
    return FALSE;
  sector = g_bytes_get_data (bytes, NULL);
  if (number_at (sector + 510, 2) != 0xaa55)
    return TRUE;
  for (guint i = 0; i < 4; i++)
    {
      if (sector[446 + 16 * i + 4] == PROTECTIVE)
        return show_gpt (disk, error);
    }
  show_mbr (sector);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GFile) file = NULL;
  g_autoptr (ImagoImage) disk = NULL;
  g_autoptr (GError) error = NULL;

  setlocale (LC_ALL, "");
  if (argc != 2)
    return 2;
  file = g_file_new_for_commandline_arg (argv[1]);
  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_reference_policy (options, policy);
  disk = imago_image_open (file, options, NULL, &error);
  if (disk == NULL || !show (disk, &error) || !imago_image_close (disk, NULL, &error))
    {
      g_printerr ("%s\n", error->message);
      return 1;
    }
  return 0;
}
