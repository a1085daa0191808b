/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-simple-storages.h"
#include "qcow2-builder.h"

#define EXTENDED_L2 ((guint64) 1 << 4)

void
qcow2_put_be16 (GByteArray *array, guint16 value)
{
  guint16 word = GUINT16_TO_BE (value);

  g_byte_array_append (array, (const guint8 *) &word, sizeof word);
}

void
qcow2_put_be32 (GByteArray *array, guint32 value)
{
  guint32 word = GUINT32_TO_BE (value);

  g_byte_array_append (array, (const guint8 *) &word, sizeof word);
}

void
qcow2_put_be64 (GByteArray *array, guint64 value)
{
  guint64 word = GUINT64_TO_BE (value);

  g_byte_array_append (array, (const guint8 *) &word, sizeof word);
}

static void
pad (GByteArray *array, guint alignment)
{
  static const guint8 zeroes[8];

  g_byte_array_append (array, zeroes, (alignment - array->len % alignment) % alignment);
}

void
qcow2_put_bitmap (GByteArray *directory, const Qcow2Bitmap *bitmap)
{
  static const guint8 zeroes[8];

  qcow2_put_be64 (directory, bitmap->table_offset);
  qcow2_put_be32 (directory, bitmap->table_entries);
  qcow2_put_be32 (directory, bitmap->flags);
  g_byte_array_append (directory, &bitmap->type, 1);
  g_byte_array_append (directory, &bitmap->granularity_bits, 1);
  qcow2_put_be16 (directory, (guint16) strlen (bitmap->name));
  qcow2_put_be32 (directory, bitmap->extra_length);
  for (guint i = 0; i < bitmap->extra_length; i++)
    g_byte_array_append (directory, zeroes, 1);
  g_byte_array_append (directory, (const guint8 *) bitmap->name, (guint) strlen (bitmap->name));
  pad (directory, 8);
}

static guint
entry_bits (Qcow2Builder *self)
{
  return self->incompatible & EXTENDED_L2 ? 4 : 3;
}

static guint
l2_bits (Qcow2Builder *self)
{
  return self->cluster_bits - entry_bits (self);
}

guint64
qcow2_builder_cluster_size (Qcow2Builder *self)
{
  return (guint64) 1 << self->cluster_bits;
}

guint64
qcow2_builder_alloc (Qcow2Builder *self, guint64 n_clusters)
{
  guint64 offset = img_align_up (self->file->len, qcow2_builder_cluster_size (self));
  guint64 end = offset + n_clusters * qcow2_builder_cluster_size (self);
  guint old = self->file->len;

  g_assert_cmpuint (end, <, 256 * IMG_MIB);
  g_byte_array_set_size (self->file, (guint) end);
  memset (self->file->data + old, 0, end - old);
  return offset;
}

void
qcow2_builder_write (Qcow2Builder *self, guint64 offset, gconstpointer data, gsize length)
{
  g_assert_true (img_range_fits (offset, length, self->file->len));
  memcpy (self->file->data + offset, data, length);
}

static guint64
read_word (Qcow2Builder *self, guint64 offset)
{
  return img_read_be64 (self->file->data + offset);
}

static void
write_word (Qcow2Builder *self, guint64 offset, guint64 value)
{
  guint64 word = GUINT64_TO_BE (value);

  qcow2_builder_write (self, offset, &word, sizeof word);
}

Qcow2Builder *
qcow2_builder_new (guint version, guint cluster_bits, guint64 size, guint64 incompatible)
{
  Qcow2Builder *self = g_new0 (Qcow2Builder, 1);
  guint64 l1_length;

  self->version = version;
  self->cluster_bits = cluster_bits;
  self->size = size;
  self->incompatible = incompatible;
  self->refcount_order = 4;
  self->file = g_byte_array_new ();
  self->extensions = g_byte_array_new ();
  self->snapshots = g_byte_array_new ();
  qcow2_builder_alloc (self, 1);
  self->refcount_table_offset = qcow2_builder_alloc (self, 1);
  self->l1_entries =
    (guint32) img_div_round_up (size, (guint64) 1 << (cluster_bits + l2_bits (self)));
  l1_length = MAX (self->l1_entries, 1) * (guint64) 8;
  self->l1_offset =
    qcow2_builder_alloc (self, img_div_round_up (l1_length, qcow2_builder_cluster_size (self)));
  return self;
}

void
qcow2_builder_free (Qcow2Builder *self)
{
  g_byte_array_unref (self->file);
  g_byte_array_unref (self->extensions);
  g_byte_array_unref (self->snapshots);
  g_free (self);
}

void
qcow2_builder_set_l1 (Qcow2Builder *self, guint64 index, guint64 word)
{
  g_assert_cmpuint (index, <, self->l1_entries);
  write_word (self, self->l1_offset + 8 * index, word);
}

void
qcow2_builder_set_entry (Qcow2Builder *self, guint64 cluster, guint64 word, guint64 bitmap)
{
  guint64 l1_index = cluster >> l2_bits (self);
  guint64 index = cluster & (((guint64) 1 << l2_bits (self)) - 1);
  guint64 table = read_word (self, self->l1_offset + 8 * l1_index) & ~QCOW2_COPIED;

  if (table == 0)
    {
      table = qcow2_builder_alloc (self, 1);
      qcow2_builder_set_l1 (self, l1_index, table | QCOW2_COPIED);
    }
  write_word (self, table + (index << entry_bits (self)), word);
  if (self->incompatible & EXTENDED_L2)
    write_word (self, table + (index << entry_bits (self)) + 8, bitmap);
}

guint64
qcow2_builder_add_compressed (Qcow2Builder *self, gconstpointer stream, gsize length)
{
  guint shift = 62 - (self->cluster_bits - 8);
  guint64 offset, last;

  if (self->packing + length > self->packing_end)
    {
      guint64 n_clusters = 1 + length / qcow2_builder_cluster_size (self);
      guint64 fresh = qcow2_builder_alloc (self, n_clusters);

      /* A stream may span clusters that adjoin. */
      if (fresh != self->packing_end)
        self->packing = fresh;
      self->packing_end = fresh + n_clusters * qcow2_builder_cluster_size (self);
    }
  offset = self->packing;
  qcow2_builder_write (self, offset, stream, length);
  self->packing += length;
  last = offset + length - 1;
  return QCOW2_COMPRESSED | offset | ((last / 512 - offset / 512) << shift);
}

void
qcow2_builder_add_extension (Qcow2Builder *self, guint32 type, gconstpointer data, gsize length)
{
  qcow2_put_be32 (self->extensions, type);
  qcow2_put_be32 (self->extensions, (guint32) length);
  g_byte_array_append (self->extensions, data, (guint) length);
  pad (self->extensions, 8);
}

void
qcow2_builder_add_snapshot (Qcow2Builder *self,
                            const char *id,
                            const char *name,
                            guint64 l1_offset,
                            guint32 l1_entries,
                            gconstpointer extra,
                            gsize extra_length)
{
  GByteArray *table = self->snapshots;

  self->n_snapshots++;
  qcow2_put_be64 (table, l1_offset);
  qcow2_put_be32 (table, l1_entries);
  qcow2_put_be16 (table, (guint16) strlen (id));
  qcow2_put_be16 (table, (guint16) strlen (name));
  qcow2_put_be32 (table, 1700000000 + self->n_snapshots);
  qcow2_put_be32 (table, 123456789);
  qcow2_put_be64 (table, 5000000000u);
  qcow2_put_be32 (table, 7);
  qcow2_put_be32 (table, (guint32) extra_length);
  g_byte_array_append (table, extra, (guint) extra_length);
  g_byte_array_append (table, (const guint8 *) id, (guint) strlen (id));
  g_byte_array_append (table, (const guint8 *) name, (guint) strlen (name));
  pad (table, 8);
}

static guint64
store_snapshots (Qcow2Builder *self)
{
  guint64 offset;

  if (self->n_snapshots == 0)
    return 0;
  offset = qcow2_builder_alloc (
    self, img_div_round_up (self->snapshots->len, qcow2_builder_cluster_size (self)));
  qcow2_builder_write (self, offset, self->snapshots->data, self->snapshots->len);
  return offset;
}

/* Puts @text with zeroes up to @length bytes. */
static void
put_text (GByteArray *array, const char *text, guint length)
{
  guint start = array->len;

  g_byte_array_set_size (array, start + length);
  memset (array->data + start, 0, length);
  memcpy (array->data + start, text, strlen (text));
}

/* Two slots have a key; a key of 32 bytes in 4000 stripes takes 504 sectors with XTS, which has two keys. */
static GByteArray *
luks_header_new (void)
{
  GByteArray *header = g_byte_array_new ();

  put_text (header, "LUKS\xba\xbe", 6);
  qcow2_put_be16 (header, 1);
  put_text (header, "aes", 32);
  put_text (header, "xts-plain64", 32);
  put_text (header, "sha256", 32);
  qcow2_put_be32 (header, 8 + 8 * 504);
  qcow2_put_be32 (header, 64);
  put_text (header, "", 52);
  qcow2_put_be32 (header, 9000);
  put_text (header, "5f0c7f6e-24a1-4a7e-9d0e-2f3b8f6c1a90", 40);
  for (guint i = 0; i < 8; i++)
    {
      qcow2_put_be32 (header, i == 0 || i == 5 ? 0x00ac71f3 : 0x0000dead);
      qcow2_put_be32 (header, i == 0 || i == 5 ? 40000 + i : 0);
      put_text (header, "", 32);
      qcow2_put_be32 (header, 8 + i * 504);
      qcow2_put_be32 (header, 4000);
    }
  return header;
}

guint64
qcow2_builder_add_luks (Qcow2Builder *self)
{
  g_autoptr (GByteArray) header = luks_header_new ();
  g_autoptr (GByteArray) place = g_byte_array_new ();
  guint64 n_clusters = (header->len + qcow2_builder_cluster_size (self) - 1) / qcow2_builder_cluster_size (self);
  guint64 offset = qcow2_builder_alloc (self, n_clusters);

  qcow2_builder_write (self, offset, header->data, header->len);
  qcow2_put_be64 (place, offset);
  qcow2_put_be64 (place, header->len);
  qcow2_builder_add_extension (self, QCOW2_EXTENSION_ENCRYPTION_HEADER, place->data, place->len);
  self->crypt_method = 2;
  return offset;
}

static void
put_fixed_fields (Qcow2Builder *self,
                  GByteArray *header,
                  guint64 snapshots_offset,
                  guint64 backing_offset)
{
  qcow2_put_be32 (header, 0x514649fb);
  qcow2_put_be32 (header, self->version);
  qcow2_put_be64 (header, backing_offset);
  qcow2_put_be32 (header, self->backing_name != NULL ? (guint32) strlen (self->backing_name) : 0);
  qcow2_put_be32 (header, self->cluster_bits);
  qcow2_put_be64 (header, self->size);
  qcow2_put_be32 (header, self->crypt_method);
  qcow2_put_be32 (header, self->l1_entries);
  qcow2_put_be64 (header, self->l1_offset);
  qcow2_put_be64 (header, self->refcount_table_offset);
  qcow2_put_be32 (header, 1);
  qcow2_put_be32 (header, self->n_snapshots);
  qcow2_put_be64 (header, snapshots_offset);
  if (self->version < 3)
    return;
  qcow2_put_be64 (header, self->incompatible);
  qcow2_put_be64 (header, self->compatible);
  qcow2_put_be64 (header, self->autoclear);
  qcow2_put_be32 (header, self->refcount_order);
  qcow2_put_be32 (header, 112);
  g_byte_array_append (header, &self->compression, 1);
  pad (header, 8);
}

GBytes *
qcow2_builder_finish (Qcow2Builder *self)
{
  g_autoptr (GByteArray) header = g_byte_array_new ();
  guint64 snapshots_offset = store_snapshots (self);
  guint64 backing_offset = 0;
  GBytes *image;

  qcow2_put_be64 (self->extensions, 0);
  if (self->backing_name != NULL)
    backing_offset = (self->version < 3 ? 72 : 112) + self->extensions->len;
  put_fixed_fields (self, header, snapshots_offset, backing_offset);
  g_byte_array_append (header, self->extensions->data, self->extensions->len);
  if (self->backing_name != NULL)
    g_byte_array_append (header, (const guint8 *) self->backing_name,
                         (guint) strlen (self->backing_name));
  g_assert_cmpuint (header->len, <=, qcow2_builder_cluster_size (self));
  qcow2_builder_write (self, 0, header->data, header->len);
  image = g_bytes_new (self->file->data, self->file->len);
  qcow2_builder_free (self);
  return image;
}

ImgStorage *
qcow2_builder_finish_storage (Qcow2Builder *self)
{
  g_autoptr (GBytes) image = qcow2_builder_finish (self);

  return img_memory_storage_new (image);
}

GBytes *
qcow2_poke (GBytes *image, guint64 offset, const char *hex)
{
  gsize length;
  guint8 *copy = g_memdup2 (g_bytes_get_data (image, NULL), g_bytes_get_size (image));

  for (length = 0; hex[2 * length] != '\0'; length++)
    {
      g_assert_cmpuint (offset + length, <, g_bytes_get_size (image));
      copy[offset + length] = (guint8) (g_ascii_xdigit_value (hex[2 * length]) << 4 |
                                        g_ascii_xdigit_value (hex[2 * length + 1]));
    }
  return g_bytes_new_take (copy, g_bytes_get_size (image));
}
