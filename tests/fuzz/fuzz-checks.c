/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fuzz-checks.h"

#include <errno.h>

#define MAX_READ ((gsize) 256 << 10)
#define MAX_BLOCKS 16
/* Neighbours merge without a limit, so the answer to a longer question takes longer. */
#define MAX_LISTED (8 * IMG_MIB)

FuzzOp
fuzz_op_parse (const guint8 *bytes)
{
  FuzzOp op = { .kind = bytes[0], .detail = bytes[1] };

  op.length = (guint16) (bytes[2] | bytes[3] << 8);
  memcpy (&op.offset, bytes + 4, sizeof op.offset);
  op.offset = GUINT64_FROM_LE (op.offset);
  return op;
}

/* ---- errors, work, inspection ---- */

static gboolean
is_known_code (ImgCode code)
{
  return code <= IMG_CODE_INVALID_OPTION || code == IMG_CODE_ERRNO || code == IMG_CODE_CANCELLED;
}

void
fuzz_check_error (gboolean success, ImgError **error)
{
  fuzz_require (success == (*error == NULL),
                success ? "success with an error" : "failure without an error");
  if (*error == NULL)
    return;
  fuzz_require (is_known_code ((*error)->code), "unknown error code %d", (*error)->code);
  fuzz_require ((*error)->text != NULL && (*error)->text[0] != '\0', "an error without a text");
  fuzz_require (g_utf8_validate ((*error)->text, -1, NULL), "an error text that is not UTF-8");
  fuzz_require ((*error)->code != IMG_CODE_ERRNO || (*error)->system_errno == EIO,
                "errno %d: \"%s\"", (*error)->system_errno, (*error)->text);
  img_error_clear (error);
}

void
fuzz_check_work (FuzzStorage *storage)
{
  guint64 allowed =
    MIN (64 * IMG_MIB, storage->size > 16 * IMG_MIB ? G_MAXUINT64 : 4 * storage->size + IMG_MIB);

  fuzz_require (storage->bytes_read <= allowed,
                "%" G_GUINT64_FORMAT " bytes read to open a file of %" G_GUINT64_FORMAT,
                storage->bytes_read, storage->size);
  fuzz_require (storage->n_ios <= 10000, "%" G_GUINT64_FORMAT " reads to open a file",
                storage->n_ios);
}

gboolean
fuzz_check_inspect (FuzzStorage *storage, const ImgDriver *driver, ImgFindings *findings)
{
  g_autoptr (ImgError) error = NULL;
  GPtrArray *matches;
  gboolean success;

  matches = img_drivers_probe (&storage->parent, &error);
  fuzz_check_error (matches != NULL, &error);
  for (guint i = 0; matches != NULL && i < matches->len; i++)
    {
      const ImgDriver *match = g_ptr_array_index (matches, i);

      fuzz_require (img_driver_find (match->name) == match,
                    "probing found a driver that is not in the list");
    }
  g_clear_pointer (&matches, g_ptr_array_unref);

  success = driver->inspect (&storage->parent, findings, NULL, &error);
  fuzz_check_error (success, &error);
  return success;
}

void
fuzz_check_findings (const ImgFindings *findings, ImgImage *image)
{
  ImgLayout *layout = img_image_get_layout (image);

  fuzz_require (findings->virtual_size == layout->size, "inspect and open disagree about the size");
  fuzz_require (findings->unknown_features == NULL || findings->unknown_features->len == 0,
                "an image with unknown incompatible features was opened");
  fuzz_require (findings->description.encryption == NULL, "an encrypted image was opened");
  fuzz_require (findings->wanted->len == layout->wanted->len,
                "inspect and open disagree about references");
  for (guint i = 0; i < layout->wanted->len; i++)
    {
      const ImgWanted *found = g_ptr_array_index (findings->wanted, i);
      const ImgWanted *wanted = g_ptr_array_index (layout->wanted, i);

      fuzz_require (found->role == wanted->role && g_strcmp0 (found->name, wanted->name) == 0 &&
                      g_strcmp0 (found->format_name, wanted->format_name) == 0,
                    "inspect and open name different references");
    }
}

/* ---- the map ---- */

static guint64
disk_left (ImgImage *image, guint64 offset)
{
  return img_image_get_size (image) - offset;
}

static void
check_block (ImgImage *image, const ImgBlock *block, guint64 offset, guint64 length)
{
  fuzz_require (block->offset == offset, "the map answers for another offset");
  fuzz_require (block->length > 0 && block->length <= length,
                "a block of %" G_GUINT64_FORMAT " bytes out of %" G_GUINT64_FORMAT, block->length,
                length);
  fuzz_require (block->kind <= IMG_BLOCK_HOLE, "unknown kind of block");
  fuzz_require (block->depth < IMG_HARD_MAX_DEPTH && block->layer != NULL, "a block from nowhere");
  fuzz_require (!block->has_host_offset || block->storage != NULL, "a host offset in no storage");
  fuzz_require (block->kind != IMG_BLOCK_ZERO || block->reads_as_zero,
                "zeroes that do not read as zero");
  fuzz_require (!block->has_host_offset ||
                  img_range_fits (block->host_offset, block->length, IMG_MAX_SIZE),
                "a host range that wraps");
  fuzz_require (block->kind != IMG_BLOCK_DATA ||
                  (block->has_host_offset && img_range_fits (block->offset, block->length,
                                                             img_image_get_size (block->layer))),
                "data without a place, or past the end of its layer");
}

/* A block asked about from its middle is the rest of the same block. */
static void
check_block_middle (ImgImage *image, const ImgBlock *block, ImgBlockMapFlags flags)
{
  guint64 skip = block->length / 2;
  g_autoptr (ImgError) error = NULL;
  ImgBlock middle;
  gboolean success;

  if (skip == 0)
    return;
  success =
    img_image_map (image, block->offset + skip, block->length - skip, flags, &middle, NULL, &error);
  fuzz_check_error (success, &error);
  fuzz_require (success, "a mapped block cannot be mapped from its middle");
  check_block (image, &middle, block->offset + skip, block->length - skip);
  fuzz_require (middle.kind == block->kind && middle.depth == block->depth &&
                  middle.layer == block->layer,
                "the middle of a block is another block");
  fuzz_require (middle.has_host_offset == block->has_host_offset &&
                  (!block->has_host_offset || block->kind == IMG_BLOCK_COMPRESSED ||
                   middle.host_offset == block->host_offset + skip),
                "the middle of a block is elsewhere");
}

void
fuzz_check_map_walk (ImgImage *image, ImgBlockMapFlags flags, guint max_steps)
{
  guint64 offset = 0;

  for (guint i = 0; i < max_steps && offset < img_image_get_size (image); i++)
    {
      g_autoptr (ImgError) error = NULL;
      ImgBlock block;
      gboolean success =
        img_image_map (image, offset, disk_left (image, offset), flags, &block, NULL, &error);

      fuzz_check_error (success, &error);
      if (!success)
        return;
      check_block (image, &block, offset, disk_left (image, offset));
      offset += block.length;
      fuzz_require (offset <= img_image_get_size (image),
                    "the map reaches past the end of the disk");
    }
}

static void
check_map_many (ImgImage *image, guint64 offset, guint64 length, ImgBlockMapFlags flags)
{
  g_autoptr (ImgError) error = NULL;
  ImgBlock blocks[MAX_BLOCKS];
  ImgBlock first;
  guint64 position = offset;
  guint n = img_image_map_many (image, offset, length, flags, blocks, MAX_BLOCKS, NULL, &error);

  fuzz_check_error (n > 0, &error);
  fuzz_require (n <= MAX_BLOCKS, "more blocks than there is room for");
  if (n == 0)
    return;
  for (guint i = 0; i < n; i++)
    {
      check_block (image, &blocks[i], position, length - (position - offset));
      position += blocks[i].length;
    }
  if (!img_image_map (image, offset, length, flags, &first, NULL, &error))
    fuzz_violation ("one block cannot be mapped where many can: %s", error->text);
  fuzz_require (first.kind == blocks[0].kind && first.length <= blocks[0].length,
                "many blocks differ from one block");
}

/* ---- reading ---- */

static gboolean
is_zero (const guint8 *bytes, gsize length)
{
  return length == 0 || (bytes[0] == 0 && memcmp (bytes, bytes + 1, length - 1) == 0);
}

static void
require_equal (const guint8 *a, const guint8 *b, gsize length, const char *what)
{
  fuzz_require (memcmp (a, b, length) == 0, "%s differs", what);
}

/* What the map says about [offset, offset + length) is what was read there. */
static void
check_agreement (ImgImage *image,
                 guint64 offset,
                 const guint8 *bytes,
                 gsize length,
                 ImgBlockMapFlags flags)
{
  gsize done = 0;

  while (done < length)
    {
      g_autoptr (ImgError) error = NULL;
      g_autofree guint8 *host = NULL;
      ImgBlock block;

      if (!img_image_map (image, offset + done, length - done, flags, &block, NULL, &error))
        fuzz_violation ("what can be read cannot be mapped: %s", error->text);
      check_block (image, &block, offset + done, length - done);
      if (block.reads_as_zero || block.kind == IMG_BLOCK_HOLE)
        fuzz_require (is_zero (bytes + done, block.length),
                      "zeroes of the map are not zeroes of the disk");
      if (block.kind == IMG_BLOCK_DATA)
        {
          host = g_malloc (block.length);
          if (!img_storage_read (block.storage, block.host_offset, host, block.length, &error))
            fuzz_violation ("what can be read cannot be read from its host: %s", error->text);
          require_equal (bytes + done, host, block.length, "the data at the host offset");
        }
      done += block.length;
    }
}

static gboolean
read_checked (ImgImage *image, guint64 offset, guint8 *buffer, gsize length, ImgCode *code)
{
  g_autoptr (ImgError) error = NULL;
  gboolean success = img_image_read (image, offset, buffer, length, NULL, &error);

  *code = error != NULL ? error->code : IMG_CODE_FAILED;
  fuzz_check_error (success, &error);
  return success;
}

static gboolean
readv_checked (ImgImage *image, guint64 offset, guint8 *buffer, gsize length, guint8 detail)
{
  g_autoptr (ImgError) error = NULL;
  struct iovec iov[4];
  gsize done = 0;
  guint n = 0;
  gboolean success;

  /* Uneven pieces, so that their borders fall into sectors and clusters. */
  while (done < length)
    {
      gsize part = n == G_N_ELEMENTS (iov) - 1
                     ? length - done
                     : MIN (length - done, (gsize) (detail | 1) << (n * 4));

      iov[n].iov_base = buffer + done;
      iov[n].iov_len = part;
      done += part;
      n++;
    }
  success = img_image_readv (image, offset, iov, n, NULL, &error);
  fuzz_check_error (success, &error);
  return success;
}

static void
check_tried (ImgTryResult result, ImgError **error, const guint8 *buffer, const guint8 *expected, gsize length)
{
  fuzz_check_error (result != IMG_TRY_ERROR, error);
  if (result == IMG_TRY_DONE)
    {
      fuzz_require (expected != NULL, "a try succeeded where the read fails");
      require_equal (buffer, expected, length, "a try");
    }
  fuzz_require (result != IMG_TRY_ERROR || expected == NULL, "a try failed where the read succeeds");
}

/* Alone, and as two of many. */
static void
check_try_read (ImgImage *image, guint64 offset, gsize length, const guint8 *expected)
{
  g_autofree guint8 *buffer = g_malloc (length);
  g_autofree guint8 *second = g_malloc (length);
  ImgTryRead reads[2] = { { offset, length, buffer }, { offset, length, second } };
  g_autoptr (ImgError) error = NULL;
  ImgTryResult result = img_image_try_read (image, offset, buffer, length, NULL, &error);

  check_tried (result, &error, buffer, expected, length);
  img_image_try_reads (image, reads, 2);
  for (guint i = 0; i < 2; i++)
    {
      check_tried (reads[i].result, &reads[i].error, reads[i].buffer, expected, length);
      img_error_clear (&reads[i].error);
    }
}

static void
check_read (ImgImage *image, guint64 offset, gsize length, guint8 detail)
{
  g_autofree guint8 *first = g_malloc (length);
  g_autofree guint8 *second = g_malloc (length);
  ImgCode first_code, second_code;
  gboolean success;

  memset (first, 0xa5, length);
  memset (second, 0x5a, length);
  success = read_checked (image, offset, first, length, &first_code);
  fuzz_require (read_checked (image, offset, second, length, &second_code) == success &&
                  first_code == second_code,
                "the second read ends otherwise than the first");
  check_try_read (image, offset, length, success ? first : NULL);
  if (!success)
    {
      fuzz_require (!readv_checked (image, offset, second, length, detail),
                    "a vectored read succeeds where a read fails");
      return;
    }
  require_equal (first, second, length, "the second read");
  memset (second, 0xc3, length);
  fuzz_require (readv_checked (image, offset, second, length, detail),
                "a vectored read fails where a read succeeds");
  require_equal (first, second, length, "the vectored read");
  check_agreement (image, offset, first, length,
                   detail & 1 ? IMG_BLOCK_MAP_HOST_HOLES : IMG_BLOCK_MAP_NONE);
}

/* ---- operations ---- */

/* Most of the interesting places are few: the beginning, the end and the borders of clusters. */
static guint64
choose_offset (ImgImage *image, const FuzzOp *op)
{
  guint64 size = img_image_get_size (image);
  guint64 offset = op->offset;

  switch (op->detail >> 6)
    {
    case 0:
      return offset % size;
    case 1:
      return (offset & 0xfffff) % size;
    case 2:
      return size - 1 - (offset & 0xfffff) % size;
    default:
      return (offset << 9) % size;
    }
}

static gsize
choose_length (ImgImage *image, const FuzzOp *op, guint64 offset)
{
  gsize length = (gsize) op->length << ((op->detail >> 3) & 3);

  return (gsize) CLAMP (length, 1, MIN (disk_left (image, offset), MAX_READ));
}

static ImgBlockMapFlags
choose_flags (const FuzzOp *op)
{
  return (ImgBlockMapFlags) (op->detail & (IMG_BLOCK_MAP_TOP_ONLY | IMG_BLOCK_MAP_HOST_HOLES));
}

/* Clusters begin at clusters, and inside their file; the last one may be cut off. */
static void
check_place (const ImgBlock *block)
{
  ImgLayout *layout = img_image_get_layout (block->layer);
  g_autoptr (ImgError) error = NULL;
  ImgDescription description = { 0 };
  guint64 file_size;

  if (block->kind == IMG_BLOCK_DATA && layout->klass->describe != NULL &&
      layout->klass->describe (layout, &description, &error) && description.cluster_size != 0)
    {
      fuzz_require ((block->host_offset - block->offset) % description.cluster_size == 0,
                    "a cluster out of alignment");
      if (!img_storage_get_size (block->storage, &file_size, &error))
        fuzz_violation ("a file without a size: %s", error->text);
      fuzz_require (description.has_data_file ||
                      img_align_down (block->host_offset, description.cluster_size) < file_size,
                    "data past the end of its file");
    }
  img_description_clear (&description);
}

static void
check_map (ImgImage *image, guint64 offset, guint64 length, ImgBlockMapFlags flags)
{
  g_autoptr (ImgError) error = NULL;
  ImgBlock block;
  gboolean success = img_image_map (image, offset, length, flags, &block, NULL, &error);

  fuzz_check_error (success, &error);
  if (!success)
    return;
  check_block (image, &block, offset, length);
  check_block_middle (image, &block, flags);
  check_place (&block);
}

void
fuzz_check_op (ImgImage *image, const FuzzOp *op)
{
  guint64 offset;

  if (img_image_get_size (image) == 0)
    return;
  offset = choose_offset (image, op);
  switch (op->kind % 4)
    {
    case 0:
      check_map (image, offset, disk_left (image, offset), choose_flags (op));
      break;
    case 1:
      check_map_many (image, offset, MIN (disk_left (image, offset), MAX_LISTED),
                      choose_flags (op));
      break;
    default:
      check_read (image, offset, choose_length (image, op, offset), op->detail);
      break;
    }
}

void
fuzz_check_same (ImgImage *image, ImgImage *reference, const FuzzOp *op)
{
  guint64 offset = choose_offset (image, op);
  gsize length = choose_length (image, op, offset);
  g_autofree guint8 *bytes = g_malloc (length);
  g_autofree guint8 *expected = g_malloc (length);
  ImgCode code, expected_code;
  gboolean success = read_checked (image, offset, bytes, length, &code);

  fuzz_require (read_checked (reference, offset, expected, length, &expected_code) == success &&
                  code == expected_code,
                "a read ends otherwise after a failure than without one");
  if (success)
    require_equal (bytes, expected, length, "a read after a failure");
}

void
fuzz_exercise_op (ImgImage *image, const FuzzOp *op)
{
  g_autoptr (ImgError) error = NULL;
  g_autofree guint8 *buffer = NULL;
  guint64 offset;
  gsize length;
  gboolean success;

  if (img_image_get_size (image) == 0)
    return;
  offset = choose_offset (image, op);
  length = choose_length (image, op, offset);
  if (op->kind % 4 == 0)
    {
      ImgBlock block;

      success = img_image_map (image, offset, disk_left (image, offset), choose_flags (op), &block,
                               NULL, &error);
      fuzz_check_error (success, &error);
      return;
    }
  buffer = g_malloc (length);
  success = op->kind % 4 == 1
              ? img_image_try_read (image, offset, buffer, length, NULL, &error) != IMG_TRY_ERROR
              : img_image_read (image, offset, buffer, length, NULL, &error);
  fuzz_check_error (success, &error);
}
