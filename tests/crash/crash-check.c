/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "crash-check.h"
#include "img-bytes.h"

#define OFFSET_MASK ((guint64) 0x00fffffffffffe00)
#define COPIED ((guint64) 1 << 63)
#define COMPRESSED ((guint64) 1 << 62)
#define ZERO ((guint64) 1)

typedef struct
{
  const CrashGeometry *geometry;
  CrashPages *image;
  guint64 cluster_size;
  guint64 n_clusters;  /* of the file, the last may be partial */
  GArray *references;  /* of guint32, by cluster */
  GArray *counted;     /* of guint64, by cluster: what the refcount blocks say */
  GArray *copied;      /* of Copied: flags to look at when all is counted */
  gboolean in_snapshot; /* whose flags may be anything */
  guint64 refcount_table;
  guint64 refcount_table_entries;
  char *problem;
} Check;

typedef struct
{
  guint64 cluster;
  gboolean flag;
} Copied;

G_GNUC_PRINTF (2, 3)
static void
complain (Check *check, const char *format, ...)
{
  va_list arguments;

  if (check->problem != NULL)
    return;
  va_start (arguments, format);
  check->problem = g_strdup_vprintf (format, arguments);
  va_end (arguments);
}

static guint64
read_word (Check *check, guint64 offset)
{
  guint8 bytes[8];

  crash_pages_read (check->image, offset, bytes, sizeof bytes);
  return img_read_be64 (bytes);
}

static guint32
read_half (Check *check, guint64 offset)
{
  guint8 bytes[4];

  crash_pages_read (check->image, offset, bytes, sizeof bytes);
  return img_read_be32 (bytes);
}

/* One reference to each cluster that the range touches. */
static void
refer (Check *check, const char *what, guint64 offset, guint64 length)
{
  guint64 first = offset / check->cluster_size;
  guint64 last = (offset + length - 1) / check->cluster_size;

  for (guint64 i = first; i <= last; i++)
    if (i >= check->n_clusters)
      complain (check, "%s at %" G_GINT64_MODIFIER "x lies outside the file", what, offset);
    else
      g_array_index (check->references, guint32, i)++;
}

static gboolean
refer_table (Check *check, const char *what, guint64 offset, guint64 length)
{
  if (offset % check->cluster_size != 0)
    complain (check, "%s at %" G_GINT64_MODIFIER "x is not aligned", what, offset);
  refer (check, what, offset, length);
  return check->problem == NULL;
}

static void
remember_copied (Check *check, guint64 entry)
{
  Copied copied = { (entry & OFFSET_MASK) / check->cluster_size, (entry & COPIED) != 0 };

  if (check->in_snapshot)
    return;
  g_array_append_val (check->copied, copied);
}

/* ---- walking ---- */

static void
walk_refcount_blocks (Check *check)
{
  guint64 end = check->refcount_table + 8 * check->refcount_table_entries;

  for (guint64 at = check->refcount_table; at < end && check->problem == NULL; at += 8)
    {
      guint64 entry;

      /* Pages are of whole entries. */
      at = crash_pages_skip_zeroes (check->image, at, end);
      entry = at < end ? read_word (check, at) : 0;
      if (entry != 0)
        refer_table (check, "a refcount block", entry, check->cluster_size);
    }
}

static void
check_compressed (Check *check, guint64 entry)
{
  guint shift = 62 - (check->geometry->cluster_bits - 8);
  guint64 offset = entry & (((guint64) 1 << shift) - 1);
  guint64 sectors = ((entry & ~(COPIED | COMPRESSED)) >> shift) + 1;

  if (entry & COPIED)
    complain (check, "a compressed cluster has the COPIED flag");
  refer (check, "a compressed cluster", offset & ~(guint64) 511, sectors * 512);
}

static void
check_standard (Check *check, guint64 entry)
{
  guint64 host = entry & OFFSET_MASK;
  gboolean has_zero_flag = check->geometry->version >= 3 && !check->geometry->extended_l2;

  if (entry & ~(COPIED | OFFSET_MASK | (has_zero_flag ? ZERO : 0)))
    complain (check, "reserved bits of L2 entry %" G_GINT64_MODIFIER "x are set", entry);
  if (host == 0 || check->geometry->has_data_file)
    return;
  if (refer_table (check, "a data cluster", host, 1))
    remember_copied (check, entry);
}

static void
walk_l2 (Check *check, guint64 table)
{
  guint64 entry_size = check->geometry->extended_l2 ? 16 : 8;
  guint64 end = table + check->cluster_size;

  for (guint64 at = table; at < end && check->problem == NULL; at += entry_size)
    {
      guint64 entry;

      at = crash_pages_skip_zeroes (check->image, at, end);
      entry = at < end ? read_word (check, at) : 0;
      if (entry & COMPRESSED)
        check_compressed (check, entry);
      else
        check_standard (check, entry);
    }
}

static void
walk_l1 (Check *check, guint64 table, guint64 n_entries)
{
  for (guint64 i = 0; i < n_entries && check->problem == NULL; i++)
    {
      guint64 entry = read_word (check, table + 8 * i);

      if (entry == 0)
        continue;
      if (entry & ~(COPIED | OFFSET_MASK))
        complain (check, "reserved bits of L1 entry %" G_GINT64_MODIFIER "x are set", entry);
      if (!refer_table (check, "an L2 table", entry & OFFSET_MASK, check->cluster_size))
        return;
      remember_copied (check, entry);
      walk_l2 (check, entry & OFFSET_MASK);
    }
}

/* The one that the disk was made with: its entry has a length that is known. */
static void
walk_snapshot (Check *check)
{
  guint64 entry = read_word (check, 64);
  guint64 l1_offset = read_word (check, entry);
  guint64 l1_entries = read_half (check, entry + 8);

  if (read_half (check, 60) != 1)
    complain (check, "the snapshot is gone");
  check->in_snapshot = TRUE;
  if (check->problem == NULL && refer_table (check, "the snapshot table", entry, 64) &&
      refer_table (check, "the L1 table of the snapshot", l1_offset, MAX (1, l1_entries * 8)))
    walk_l1 (check, l1_offset, l1_entries);
  check->in_snapshot = FALSE;
}

/* ---- comparing ---- */

#define MAX_COUNT_BYTES 4096u /* that are decoded at once */

static guint64
decode_count (const guint8 *bytes, guint64 index, guint order)
{
  guint64 bit = index << order;
  guint64 value = 0;

  for (guint i = 0; i < MAX (1, (1u << order) / 8); i++)
    value = value << 8 | bytes[bit / 8 + i];
  return order < 3 ? value >> bit % 8 & ((1u << (1u << order)) - 1) : value;
}

/* The counts of @n clusters from @first, which @bytes of the image hold, or nothing does. */
static void
load_counts (Check *check, guint order, guint64 first, guint64 n, guint64 offset)
{
  guint8 bytes[MAX_COUNT_BYTES];

  crash_pages_read (check->image, offset, bytes, (n << order) / 8 + 1);
  for (guint64 i = 0; i < n; i++)
    g_array_index (check->counted, guint64, first + i) = decode_count (bytes, i, order);
}

static void
load_refcounts (Check *check)
{
  guint order = check->geometry->version < 3 ? 4 : check->geometry->refcount_order;
  guint64 per_block = check->cluster_size * 8 >> order;
  guint64 n;

  for (guint64 first = 0; first < check->n_clusters; first += n)
    {
      guint64 index = first / per_block, skip = first % per_block;
      guint64 block = index < check->refcount_table_entries
                        ? read_word (check, check->refcount_table + 8 * index) & ~(guint64) 0x1ff
                        : 0;

      n = MIN (MIN (per_block - skip, (MAX_COUNT_BYTES - 1) * 8 >> order), check->n_clusters - first);
      if (block != 0)
        load_counts (check, order, first, n, block + (skip << order) / 8);
    }
}

static guint64
compare_refcounts (Check *check)
{
  guint64 n_leaks = 0;

  for (guint64 i = 0; i < check->n_clusters; i++)
    {
      guint64 counted = g_array_index (check->counted, guint64, i);
      guint64 found = g_array_index (check->references, guint32, i);

      if (counted < found)
        complain (check,
                  "cluster %" G_GUINT64_FORMAT " is counted %" G_GUINT64_FORMAT
                  " times and referred to %" G_GUINT64_FORMAT " times",
                  i, counted, found);
      n_leaks += counted > found;
    }
  return n_leaks;
}

static void
compare_copied (Check *check)
{
  for (guint i = 0; i < check->copied->len; i++)
    {
      const Copied *copied = &g_array_index (check->copied, Copied, i);

      if (copied->flag != (g_array_index (check->counted, guint64, copied->cluster) == 1))
        complain (check, "the COPIED flag of cluster %" G_GUINT64_FORMAT " is wrong",
                  copied->cluster);
    }
}

static GArray *
new_array_of_clusters (Check *check, guint member_size)
{
  GArray *array = g_array_sized_new (FALSE, TRUE, member_size, (guint) check->n_clusters);

  return g_array_set_size (array, (guint) check->n_clusters);
}

char *
crash_check_qcow2 (const CrashGeometry *geometry, CrashPages *image, guint64 *n_leaks)
{
  Check check = { .geometry = geometry, .image = image };
  guint64 l1_offset, l1_entries, table_clusters;

  check.cluster_size = crash_geometry_cluster (geometry);
  check.n_clusters =
    (crash_pages_get_size (image) + check.cluster_size - 1) / check.cluster_size;
  check.references = new_array_of_clusters (&check, sizeof (guint32));
  check.counted = new_array_of_clusters (&check, sizeof (guint64));
  check.copied = g_array_new (FALSE, FALSE, sizeof (Copied));
  l1_entries = read_half (&check, 36);
  l1_offset = read_word (&check, 40);
  check.refcount_table = read_word (&check, 48);
  table_clusters = read_half (&check, 56);
  check.refcount_table_entries = table_clusters * check.cluster_size / 8;

  refer (&check, "the header", 0, 1);
  if (refer_table (&check, "the refcount table", check.refcount_table,
                   table_clusters * check.cluster_size) &&
      refer_table (&check, "the L1 table", l1_offset, MAX (1, l1_entries * 8)))
    {
      walk_refcount_blocks (&check);
      walk_l1 (&check, l1_offset, l1_entries);
      if (geometry->snapshot_size > 0)
        walk_snapshot (&check);
    }
  load_refcounts (&check);
  *n_leaks = check.problem == NULL ? compare_refcounts (&check) : 0;
  compare_copied (&check);
  g_array_unref (check.references);
  g_array_unref (check.counted);
  g_array_unref (check.copied);
  return check.problem;
}
