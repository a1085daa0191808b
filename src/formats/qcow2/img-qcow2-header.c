/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-header.h"

#define SECTOR_SIZE 512
#define V3_HEADER_LENGTH 104 /* the least */
#define KNOWN_LENGTH 105     /* with the compression type */

#define MAX_EXTENSIONS 256
/* What is being parsed: the bytes of the first cluster that the file has. */
typedef struct
{
  ImgQcow2Header *header;
  GBytes *head;
  const guint8 *bytes; /* at least a sector, filled up with zeroes */
  gsize length;        /* of what the file has */
  guint32 seen;        /* the known extensions met so far, by position in known_extensions */
  const guint8 *feature_names;
  gsize feature_names_length;
} Parser;

static void
extension_free (gpointer data)
{
  ImgQcow2Extension *extension = data;

  g_bytes_unref (extension->data);
  g_free (extension);
}

void
img_qcow2_header_free (ImgQcow2Header *header)
{
  if (header == NULL)
    return;
  g_free (header->backing_name);
  g_free (header->backing_format);
  g_free (header->data_file_name);
  g_ptr_array_unref (header->unknown_extensions);
  g_ptr_array_unref (header->unknown_features);
  g_ptr_array_unref (header->repairable);
  g_ptr_array_unref (header->problems);
  g_free (header);
}

G_GNUC_PRINTF (3, 4)
static void
add_problem (ImgQcow2Header *header, ImgCode code, const char *format, ...)
{
  g_autofree char *text = NULL;
  ImgError *error = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  img_error_set (&error, code, "%s", text);
  g_ptr_array_add (header->problems, error);
}

/* ---- fixed fields ---- */

static void
parse_v2_fields (ImgQcow2Header *header, const guint8 *bytes)
{
  header->version = img_read_be32 (bytes + 4);
  header->backing_name_offset = img_read_be64 (bytes + 8);
  header->backing_name_length = img_read_be32 (bytes + 16);
  header->cluster_bits = img_read_be32 (bytes + 20);
  header->size = img_read_be64 (bytes + 24);
  header->crypt_method = img_read_be32 (bytes + 32);
  header->l1_entries = img_read_be32 (bytes + 36);
  header->l1_offset = img_read_be64 (bytes + 40);
  header->refcount_table_offset = img_read_be64 (bytes + 48);
  header->refcount_table_clusters = img_read_be32 (bytes + 56);
  header->n_snapshots = img_read_be32 (bytes + 60);
  header->snapshots_offset = img_read_be64 (bytes + 64);
}

/* Version 2 has no features; its refcounts have 16 bits. */
static void
parse_v3_fields (ImgQcow2Header *header, const guint8 *bytes)
{
  if (header->version != 3)
    {
      header->refcount_order = 4;
      header->header_length = IMG_QCOW2_V2_HEADER_LENGTH;
      return;
    }
  header->incompatible = img_read_be64 (bytes + 72);
  header->compatible = img_read_be64 (bytes + 80);
  header->autoclear = img_read_be64 (bytes + 88);
  header->refcount_order = img_read_be32 (bytes + 96);
  header->header_length = img_read_be32 (bytes + 100);
  if (header->header_length > V3_HEADER_LENGTH)
    header->compression = bytes[V3_HEADER_LENGTH];
}

/* Later versions of the format may add some; 0 says that they mean nothing. */
static void
parse_unknown_fields (ImgQcow2Header *header, const guint8 *bytes)
{
  header->has_unknown_fields = header->header_length > KNOWN_LENGTH &&
                               !img_is_zero (bytes + KNOWN_LENGTH, header->header_length - KNOWN_LENGTH);
}

/* ---- validation of the fixed fields ---- */

/* The rest of the header means nothing with a wrong cluster size. */
static gboolean
check_geometry (ImgQcow2Header *header)
{
  if (header->version != 2 && header->version != 3)
    add_problem (header, IMG_CODE_UNSUPPORTED, _("Version %u of qcow2 is not supported"),
                 header->version);
  else if (header->cluster_bits < IMG_QCOW2_MIN_CLUSTER_BITS ||
           header->cluster_bits > IMG_QCOW2_MAX_CLUSTER_BITS)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The cluster size is invalid: 2 to the power of %u bytes"),
                 header->cluster_bits);
  else if (header->version == 3 && header->header_length < V3_HEADER_LENGTH)
    add_problem (header, IMG_CODE_CORRUPT, _("The header length is invalid: %u bytes"),
                 header->header_length);
  else if (header->header_length > img_qcow2_header_get_cluster_size (header))
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The header length is larger than a cluster: %u bytes"), header->header_length);
  else if (header->header_length > header->file_size)
    add_problem (header, IMG_CODE_CORRUPT, _("The file ends inside the qcow2 header"));
  else
    return TRUE;
  if (header->cluster_bits < IMG_QCOW2_MIN_CLUSTER_BITS ||
      header->cluster_bits > IMG_QCOW2_MAX_CLUSTER_BITS)
    header->cluster_bits = 0;
  return FALSE;
}

static void
check_features (ImgQcow2Header *header)
{
  gboolean has_compression_bit = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_COMPRESSION);

  if (header->compression > IMG_QCOW2_COMPRESSION_ZSTD)
    add_problem (header, IMG_CODE_UNSUPPORTED, _("Compression type %u is not supported"),
                 header->compression);
  if (has_compression_bit != (header->compression != IMG_QCOW2_COMPRESSION_ZLIB))
    add_problem (header, IMG_CODE_CORRUPT, _("The compression type and its feature bit disagree"));
  if (img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2) &&
      header->cluster_bits < 14)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("Extended L2 entries need clusters of at least 16 KiB"));
  if ((header->autoclear & IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE) != 0 &&
      !img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE))
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The image says that its external data file is raw, but it has none"));
  if (header->crypt_method > IMG_QCOW2_CRYPT_LUKS)
    add_problem (header, IMG_CODE_UNSUPPORTED, _("Encryption method %u is not supported"),
                 header->crypt_method);
}

static void
check_size (ImgQcow2Header *header)
{
  if (header->size > IMG_MAX_SIZE)
    add_problem (header, IMG_CODE_LIMIT_EXCEEDED,
                 _("The virtual size is too large: %" PRIu64 " bytes"), header->size);
  header->size = img_align_down (header->size, SECTOR_SIZE);
}

/* A table that starts at @offset: aligned, not in the header's cluster, offsets within bounds. */
static gboolean
check_table_place (const ImgQcow2Header *header,
                   guint64 offset,
                   guint64 length,
                   const char *what,
                   ImgError **error)
{
  guint64 cluster_size = img_qcow2_header_get_cluster_size (header);

  if (!img_is_aligned (offset, cluster_size))
    img_error_set (error, IMG_CODE_CORRUPT, _("%s: not aligned to a cluster, offset 0x%" PRIx64),
                   what, offset);
  else if (offset == 0)
    img_error_set (error, IMG_CODE_CORRUPT, _("%s: overlaps the header"), what);
  else if (!img_range_fits (offset, length, IMG_MAX_SIZE))
    img_error_set (error, IMG_CODE_CORRUPT, _("%s: invalid offset 0x%" PRIx64), what, offset);
  else
    return TRUE;
  return FALSE;
}

static gboolean
check_table_in_file (const ImgQcow2Header *header,
                     guint64 offset,
                     guint64 length,
                     const char *what,
                     ImgError **error)
{
  if (!check_table_place (header, offset, length, what, error))
    return FALSE;
  if (img_range_fits (offset, length, header->file_size))
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, _("%s: outside the file, offset 0x%" PRIx64), what,
                 offset);
  return FALSE;
}

static void
take_problem (ImgQcow2Header *header, ImgError *error)
{
  if (error != NULL)
    g_ptr_array_add (header->problems, error);
}

static void
check_refcount_table (ImgQcow2Header *header)
{
  guint64 max_clusters = IMG_QCOW2_MAX_REFCOUNT_TABLE_SIZE >> header->cluster_bits;
  guint n_problems = header->problems->len;
  ImgError *error = NULL;

  if (header->refcount_table_clusters == 0)
    add_problem (header, IMG_CODE_CORRUPT, _("The image has no refcount table"));
  else if (header->refcount_table_clusters > max_clusters)
    add_problem (header, IMG_CODE_LIMIT_EXCEEDED,
                 _("The refcount table is too large: %u clusters"),
                 header->refcount_table_clusters);
  else if (!check_table_place (header, header->refcount_table_offset,
                               (guint64) header->refcount_table_clusters << header->cluster_bits,
                               _("Refcount table"), &error))
    take_problem (header, error);
  header->has_refcount_table = header->problems->len == n_problems;
  if (!header->has_refcount_table)
    g_ptr_array_add (header->repairable, g_ptr_array_index (header->problems, n_problems));
}

static void
check_refcounts (ImgQcow2Header *header)
{
  if (header->refcount_order > 6)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The refcount width is invalid: 2 to the power of %u bits"),
                 header->refcount_order);
  check_refcount_table (header);
}

gboolean
img_qcow2_header_check_l1 (const ImgQcow2Header *header,
                           guint64 offset,
                           guint64 n_entries,
                           guint64 size,
                           const char *what,
                           ImgError **error)
{
  guint64 needed = img_qcow2_header_count_l1_entries (header, size);

  if (n_entries > IMG_QCOW2_MAX_L1_SIZE / sizeof (guint64))
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("%s: too large, %" PRIu64 " entries"), what,
                   n_entries);
  else if (n_entries < needed)
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("%s: too small for the disk, %" PRIu64 " of %" PRIu64 " entries"), what,
                   n_entries, needed);
  else if (needed == 0)
    return TRUE;
  else
    return check_table_in_file (header, offset, needed * sizeof (guint64), what, error);
  return FALSE;
}

static void
check_snapshots (ImgQcow2Header *header)
{
  guint64 n_most = MIN (header->n_snapshots, IMG_QCOW2_MAX_SNAPSHOTS);
  ImgError *error = NULL;

  if (header->n_snapshots > n_most)
    {
      add_problem (header, IMG_CODE_LIMIT_EXCEEDED, _("The image has too many snapshots: %u"),
                   header->n_snapshots);
      header->overhang = g_ptr_array_index (header->problems, header->problems->len - 1);
    }
  /* 40 bytes are the least that an entry takes. */
  if (n_most > 0 && !check_table_in_file (header, header->snapshots_offset, n_most * 40,
                                          _("Snapshot table"), &error))
    take_problem (header, error);
}

static void
check_tables (ImgQcow2Header *header)
{
  ImgError *error = NULL;

  check_refcounts (header);
  /* The size is checked on its own; what it would need of the L1 table is nonsense when it is too
   * large. */
  if (header->size <= IMG_MAX_SIZE &&
      !img_qcow2_header_check_l1 (header, header->l1_offset, header->l1_entries, header->size,
                                  _("L1 table"), &error))
    take_problem (header, error);
  check_snapshots (header);
}

/* ---- extensions ---- */

/* A name is bytes, not a C string: one with NUL would mean different files to different readers. */
static char *
dup_name (ImgQcow2Header *header, const guint8 *bytes, gsize length, const char *what)
{
  if (length > IMG_QCOW2_MAX_NAME)
    add_problem (header, IMG_CODE_LIMIT_EXCEEDED, _("%s: too long, %zu bytes"), what, length);
  else if (memchr (bytes, '\0', length) != NULL)
    add_problem (header, IMG_CODE_CORRUPT, _("%s: contains a NUL byte"), what);
  else
    return g_strndup ((const char *) bytes, length);
  return NULL;
}

static void
parse_backing_format (Parser *parser, const guint8 *bytes, gsize length)
{
  ImgQcow2Header *header = parser->header;

  if (length > IMG_QCOW2_MAX_FORMAT_NAME)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The name of the backing file's format is too long: %zu bytes"), length);
  else if (length > 0 && bytes[0] != '\0')
    header->backing_format = g_strndup ((const char *) bytes, length);
}

static void
parse_data_file (Parser *parser, const guint8 *bytes, gsize length)
{
  ImgQcow2Header *header = parser->header;

  header->data_file_name = dup_name (header, bytes, length, _("External data file name"));
}

static void
parse_feature_names (Parser *parser, const guint8 *bytes, gsize length)
{
  parser->feature_names = bytes;
  parser->feature_names_length = length;
}

static void
parse_encryption_header (Parser *parser, const guint8 *bytes, gsize length)
{
  ImgQcow2Header *header = parser->header;

  if (header->crypt_method != IMG_QCOW2_CRYPT_LUKS)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The image has an encryption header, but it is not encrypted with LUKS"));
  else if (length != 16)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The extension for the encryption header has an invalid length: %zu bytes"),
                 length);
  else
    {
      header->has_encryption_header = TRUE;
      header->encryption_header_offset = img_read_be64 (bytes);
      header->encryption_header_length = img_read_be64 (bytes + 8);
      if (!img_is_aligned (header->encryption_header_offset,
                           img_qcow2_header_get_cluster_size (header)))
        add_problem (header, IMG_CODE_CORRUPT,
                     _("The encryption header is not aligned to a cluster"));
    }
}

/* The autoclear bit says whether the last writer knew of the bitmaps; without it they are stale. */
static void
parse_bitmaps (Parser *parser, const guint8 *bytes, gsize length)
{
  ImgQcow2Header *header = parser->header;
  ImgError *error = NULL;

  if ((header->autoclear & IMG_QCOW2_AUTOCLEAR_BITMAPS) == 0)
    return;
  if (length != 24 || img_read_be32 (bytes + 4) != 0)
    {
      add_problem (header, IMG_CODE_CORRUPT, _("The bitmaps extension is invalid"));
      return;
    }
  header->n_bitmaps = img_read_be32 (bytes);
  header->bitmap_directory_size = img_read_be64 (bytes + 8);
  header->bitmap_directory_offset = img_read_be64 (bytes + 16);
  if (header->n_bitmaps == 0 || header->bitmap_directory_size == 0)
    add_problem (header, IMG_CODE_CORRUPT, _("The bitmap directory is empty"));
  else if (header->n_bitmaps > IMG_QCOW2_MAX_BITMAPS)
    add_problem (header, IMG_CODE_LIMIT_EXCEEDED, _("The image has too many bitmaps: %u"),
                 header->n_bitmaps);
  else if (header->bitmap_directory_size > IMG_QCOW2_MAX_BITMAP_DIRECTORY)
    add_problem (header, IMG_CODE_LIMIT_EXCEEDED,
                 _("The bitmap directory is too large: %" PRIu64 " bytes"),
                 header->bitmap_directory_size);
  else if (!check_table_in_file (header, header->bitmap_directory_offset,
                                 header->bitmap_directory_size, _("Bitmap directory"), &error))
    take_problem (header, error);
  else
    header->has_bitmaps = TRUE;
}

static const struct
{
  guint32 type;
  void (*parse) (Parser *parser, const guint8 *bytes, gsize length);
} known_extensions[] = {
  { IMG_QCOW2_EXTENSION_BACKING_FORMAT, parse_backing_format },
  { IMG_QCOW2_EXTENSION_FEATURE_NAMES, parse_feature_names },
  { IMG_QCOW2_EXTENSION_BITMAPS, parse_bitmaps },
  { IMG_QCOW2_EXTENSION_ENCRYPTION_HEADER, parse_encryption_header },
  { IMG_QCOW2_EXTENSION_DATA_FILE, parse_data_file },
};

static void
keep_unknown_extension (Parser *parser, guint32 type, const guint8 *bytes, gsize length)
{
  ImgQcow2Extension *extension = g_new (ImgQcow2Extension, 1);

  extension->type = type;
  extension->data = g_bytes_new_from_bytes (parser->head, (gsize) (bytes - parser->bytes), length);
  g_ptr_array_add (parser->header->unknown_extensions, extension);
}

/* A second extension of a known type is refused: readers would differ in which of the two they
 * believe. */
static void
parse_extension (Parser *parser, guint32 type, const guint8 *bytes, gsize length)
{
  for (guint i = 0; i < G_N_ELEMENTS (known_extensions); i++)
    {
      if (known_extensions[i].type != type)
        continue;
      if (parser->seen & (1u << i))
        add_problem (parser->header, IMG_CODE_CORRUPT, _("Header extension 0x%08x appears twice"),
                     type);
      else
        known_extensions[i].parse (parser, bytes, length);
      parser->seen |= 1u << i;
      return;
    }
  keep_unknown_extension (parser, type, bytes, length);
}

/* From the end of the header to the backing file name, or to the end of the cluster; the length of
 * an extension is checked before its type is looked at. */
static void
parse_extensions (Parser *parser)
{
  ImgQcow2Header *header = parser->header;
  guint64 cluster_size = img_qcow2_header_get_cluster_size (header);
  guint64 end = header->backing_name_offset != 0 ? header->backing_name_offset : cluster_size;
  guint64 at = header->header_length;
  guint n_extensions = 0;

  end = MIN (MIN (end, cluster_size), parser->length);
  while (at < end && end - at >= 8)
    {
      guint32 type = img_read_be32 (parser->bytes + at);
      guint32 length = img_read_be32 (parser->bytes + at + 4);

      at += 8;
      if (length > end - at)
        {
          add_problem (header, IMG_CODE_CORRUPT,
                       _("Header extension 0x%08x is too long: %u bytes"), type, length);
          return;
        }
      if (type == IMG_QCOW2_EXTENSION_END)
        return;
      if (++n_extensions > MAX_EXTENSIONS)
        {
          add_problem (header, IMG_CODE_LIMIT_EXCEEDED,
                       _("The image has too many header extensions"));
          return;
        }
      parse_extension (parser, type, parser->bytes + at, length);
      at += img_align_up (length, 8);
    }
}

/* An offset without a length is what some versions of QEMU leave behind: no backing file. */
static void
parse_backing_name (Parser *parser)
{
  ImgQcow2Header *header = parser->header;
  guint64 offset = header->backing_name_offset;
  guint32 length = header->backing_name_length;

  if (offset == 0 && length == 0)
    return;
  if (offset > img_qcow2_header_get_cluster_size (header))
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The backing file name has an invalid offset: 0x%" PRIx64), offset);
  else if (length == 0)
    return;
  else if (offset < header->header_length)
    add_problem (header, IMG_CODE_CORRUPT, _("The backing file name overlaps the header"));
  else if (length > IMG_QCOW2_MAX_NAME)
    add_problem (header, IMG_CODE_LIMIT_EXCEEDED, _("The backing file name is too long: %u bytes"),
                 length);
  else if (!img_range_fits (offset, length, parser->length))
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The backing file name does not fit into the first cluster"));
  else
    header->backing_name =
      dup_name (header, parser->bytes + offset, length, _("Backing file name"));
}

/* What extensions and features say about each other. */
static void
check_extensions (ImgQcow2Header *header)
{
  if (img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE) &&
      header->data_file_name == NULL)
    add_problem (header, IMG_CODE_UNSUPPORTED,
                 _("The image needs an external data file, but does not name it"));
  if (header->crypt_method == IMG_QCOW2_CRYPT_LUKS && !header->has_encryption_header)
    add_problem (header, IMG_CODE_CORRUPT,
                 _("The image is encrypted with LUKS, but has no encryption header"));
}

/* ---- reading ---- */

/* The first cluster as far as the file has it, at most what @limit allows. */
static gboolean
read_head (Parser *parser, ImgStorage *storage, guint64 limit, ImgError **error)
{
  gsize length = (gsize) MIN (parser->header->file_size, limit);
  gsize size = MAX (length, SECTOR_SIZE); /* the fixed fields can be looked at in any case */
  guint8 *bytes = img_try_alloc0 (1, size, error);

  if (bytes == NULL)
    return FALSE;
  g_clear_pointer (&parser->head, g_bytes_unref);
  parser->head = g_bytes_new_with_free_func (bytes, size, img_free, bytes);
  parser->bytes = bytes;
  parser->length = length;
  return img_storage_read (storage, 0, bytes, length, error);
}

/* The feature name table gives a name to a bit of a kind (0: incompatible); it need not be
 * terminated, and it is the file's word. */
static char *
dup_feature_name (const Parser *parser, guint bit)
{
  const guint8 *entry = parser->feature_names;

  for (gsize left = parser->feature_names_length; left >= IMG_QCOW2_FEATURE_NAME_ENTRY;
       left -= IMG_QCOW2_FEATURE_NAME_ENTRY)
    {
      if (entry[0] == 0 && entry[1] == bit && entry[2] != '\0')
        {
          g_autofree char *name = g_strndup ((const char *) entry + 2, IMG_QCOW2_FEATURE_NAME_LENGTH);

          return img_quote_name (name);
        }
      entry += IMG_QCOW2_FEATURE_NAME_ENTRY;
    }
  return g_strdup_printf (_("bit %u"), bit);
}

/* This problem comes first: with an unknown feature all else may mean something else. */
static void
check_unknown_features (Parser *parser)
{
  ImgQcow2Header *header = parser->header;
  guint64 unknown = header->incompatible & ~IMG_QCOW2_INCOMPATIBLE_KNOWN;
  g_autoptr (GString) list = g_string_new (NULL);
  ImgError *error = NULL;

  for (guint bit = 0; bit < 64; bit++)
    {
      char *name;

      if (((unknown >> bit) & 1) == 0)
        continue;
      name = dup_feature_name (parser, bit);
      g_ptr_array_add (header->unknown_features, name);
      g_string_append_printf (list, "%s%s", list->len > 0 ? ", " : "", name);
    }
  if (unknown == 0)
    return;
  img_error_set (&error, IMG_CODE_UNSUPPORTED,
                 _("The image uses unknown incompatible features: %s"), list->str);
  g_ptr_array_insert (header->problems, 0, error);
}

static gboolean
parse_all (Parser *parser, ImgStorage *storage, ImgError **error)
{
  ImgQcow2Header *header = parser->header;
  gboolean is_sane;

  parse_v2_fields (header, parser->bytes);
  parse_v3_fields (header, parser->bytes);
  is_sane = check_geometry (header);
  check_size (header);
  if (!is_sane)
    return TRUE;
  if (!read_head (parser, storage, img_qcow2_header_get_cluster_size (header), error))
    return FALSE;
  parse_unknown_fields (header, parser->bytes);
  check_features (header);
  check_tables (header);
  parse_extensions (parser);
  parse_backing_name (parser);
  check_extensions (header);
  check_unknown_features (parser);
  return TRUE;
}

ImgQcow2Header *
img_qcow2_header_read (ImgStorage *storage, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (ImgQcow2Header) header = g_new0 (ImgQcow2Header, 1);
  Parser parser = { header };
  gboolean success;

  header->unknown_extensions = g_ptr_array_new_with_free_func (extension_free);
  header->unknown_features = g_ptr_array_new_with_free_func (g_free);
  header->problems = g_ptr_array_new_with_free_func ((GDestroyNotify) img_error_free);
  header->repairable = g_ptr_array_new ();
  if (img_cancel_check (cancel, error) ||
      !img_storage_get_size (storage, &header->file_size, error))
    return NULL;
  success = read_head (&parser, storage, SECTOR_SIZE, error);
  if (success &&
      (parser.length < IMG_QCOW2_V2_HEADER_LENGTH || img_read_be32 (parser.bytes) != IMG_QCOW2_MAGIC))
    {
      img_error_set (error, IMG_CODE_UNKNOWN_FORMAT, _("The file is not a qcow2 image"));
      success = FALSE;
    }
  success = success && parse_all (&parser, storage, error);
  g_clear_pointer (&parser.head, g_bytes_unref);
  return success ? g_steal_pointer (&header) : NULL;
}

/* ---- questions ---- */

const char *
img_qcow2_header_get_encryption (const ImgQcow2Header *header)
{
  switch (header->crypt_method)
    {
    case IMG_QCOW2_CRYPT_AES:
      return "aes";
    case IMG_QCOW2_CRYPT_LUKS:
      return "luks";
    default:
      return NULL;
    }
}

gboolean
img_qcow2_header_check_metadata (const ImgQcow2Header *header, ImgError **error)
{
  if (header->problems->len == 0)
    return TRUE;
  img_error_propagate (error, img_error_copy (g_ptr_array_index (header->problems, 0)));
  return FALSE;
}

gboolean
img_qcow2_header_check (const ImgQcow2Header *header, ImgError **error)
{
  const char *encryption = img_qcow2_header_get_encryption (header);

  if (!img_qcow2_header_check_metadata (header, error))
    return FALSE;
  if (encryption == NULL)
    return TRUE;
  img_error_set (error, IMG_CODE_ENCRYPTED,
                 _("The image is encrypted with the method “%s”, which is not supported"),
                 encryption);
  return FALSE;
}

static void
append_wanted (GPtrArray *wanted, ImgReferenceRole role, const char *name, const char *format_name)
{
  ImgWanted *entry = g_new (ImgWanted, 1);

  entry->role = role;
  entry->name = g_strdup (name);
  entry->format_name = g_strdup (format_name);
  g_ptr_array_add (wanted, entry);
}

void
img_qcow2_header_list_wanted (const ImgQcow2Header *header, GPtrArray *wanted)
{
  if (img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE) &&
      header->data_file_name != NULL)
    append_wanted (wanted, IMG_REFERENCE_DATA_FILE, header->data_file_name, "raw");
  if (header->backing_name != NULL)
    append_wanted (wanted, IMG_REFERENCE_BACKING_FILE, header->backing_name,
                   header->backing_format);
}

guint
img_qcow2_header_get_l2_bits (const ImgQcow2Header *header)
{
  return header->cluster_bits -
         (img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2) ? 4 : 3);
}

guint64
img_qcow2_header_count_l1_entries (const ImgQcow2Header *header, guint64 size)
{
  guint shift = header->cluster_bits + img_qcow2_header_get_l2_bits (header);

  return img_div_round_up (size, (guint64) 1 << shift);
}
