/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One qcow2 file: checked, repaired, checked again. A repair never leaves more corruption than there was, whether or
 * not it was interrupted before.
 *
 * The input is that of fuzz-qcow2. The first byte of the settings says what is repaired, the second one the
 * number of the storage's call that fails in a first attempt. */

#include "config.h"

#include "fuzz-checks.h"
#include "fuzz-limits.h"
#include "fuzz-target.h"
#include "img-simple-storages.h"

#define SETTINGS 4
#define MAX_OPS 24
#define MAX_FILE (64 * IMG_MIB)

#define LEAKS_ONLY 1

/* ---- a storage of which one call fails ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base; /* borrowed */
  guint n_left;
} Faulty;

static void
faulty_submit (ImgStorage *storage, ImgIo *ios, guint n)
{
  Faulty *self = (Faulty *) storage;

  for (guint i = 0; i < n; i++)
    {
      ImgError *error = NULL;

      if (self->n_left == 0 || --self->n_left > 0)
        {
          img_storage_submit (self->base, &ios[i], 1);
          continue;
        }
      img_error_set_errno (&error, EIO, "a fault");
      img_io_complete (&ios[i], error);
    }
}

static gboolean
faulty_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Faulty *) storage)->base, size, error);
}

static void
faulty_free (ImgStorage *storage)
{
  g_free (storage);
}

static const ImgStorageClass faulty_class = {
  .type_name = "faulty",
  .submit = faulty_submit,
  .get_size = faulty_get_size,
  .free = faulty_free,
};

static gboolean
has_rebuilt (const ImgCheckResult *repaired)
{
  for (guint i = 0; i < repaired->messages->len; i++)
    if (strstr (((ImgCheckMessage *) repaired->messages->pdata[i])->text, "Rebuilding refcount") != NULL)
      return TRUE;
  return FALSE;
}

/* Whether there are new refcounts, perhaps. */
static gboolean
repair_with_fault (ImgStorage *base, ImgRepair repair, guint n)
{
  Faulty *faulty = g_new0 (Faulty, 1);
  g_auto (ImgCheckResult) result = { 0 };
  g_autoptr (ImgError) error = NULL;
  gboolean success;

  img_storage_init (&faulty->parent, &faulty_class, NULL);
  faulty->parent.can_write = TRUE;
  faulty->base = base;
  faulty->n_left = n;
  img_check_result_init (&result);
  success = img_driver_find ("qcow2")->repair (&faulty->parent, repair, &result, NULL, NULL, &error);
  fuzz_check_error (success, &error);
  img_storage_unref (&faulty->parent);
  return has_rebuilt (&result);
}

/* ---- what must hold ---- */

/* NULL: larger than anything that is worth the time. */
static ImgStorage *
copy_writable (const guint8 *data, gsize length)
{
  FuzzStorage *source = fuzz_storage_new (data, length, 1);
  ImgStorage *copy = NULL;

  if (source->size <= MAX_FILE)
    copy = img_memory_storage_new_writable (source->size);
  /* The last piece that was written says what is there; peek () knows which that is. */
  for (guint i = 0; copy != NULL && i < source->n_pieces; i++)
    {
      const FuzzPiece *piece = &source->pieces[i];
      g_autofree guint8 *bytes = g_malloc (MAX (piece->length, 1));

      fuzz_storage_peek (source, piece->offset, bytes, piece->length);
      if (piece->length > 0)
        fuzz_require (img_storage_write (copy, piece->offset, bytes, piece->length, NULL),
                      "memory cannot be written");
    }
  img_storage_unref (&source->parent);
  return copy;
}

static gboolean
check (ImgStorage *storage, ImgCheckResult *result)
{
  g_autoptr (ImgError) error = NULL;
  gboolean success = img_driver_find ("qcow2")->check (storage, result, NULL, NULL, &error);

  fuzz_check_error (success, &error);
  fuzz_require (result->messages->len <= IMG_CHECK_MAX_MESSAGES, "too many messages");
  return success;
}

/* But for COPIED flags. */
static guint64
count_wrong (const ImgCheckResult *result)
{
  return result->corruptions - result->wrong_flags + result->check_errors;
}

/* @is_rebuilt: there are new refcounts. Where tables lie over each other a flag may not be touched; it becomes wrong
 * when the refcount that it fitted is put right, or can be read again. Then there is less of what is worse. */
static void
compare (const ImgCheckResult *before, const ImgCheckResult *after, gboolean is_rebuilt)
{
  guint64 n_flags = is_rebuilt && count_wrong (after) < count_wrong (before) ? G_MAXUINT32 : before->wrong_flags;

  fuzz_require (count_wrong (after) + after->wrong_flags <= count_wrong (before) + n_flags,
                "%" G_GUINT64_FORMAT " corruptions and %" G_GUINT64_FORMAT " wrong flags became %" G_GUINT64_FORMAT
                " and %" G_GUINT64_FORMAT,
                count_wrong (before), before->wrong_flags, count_wrong (after), after->wrong_flags);
}

static void
repair (ImgStorage *storage, ImgRepair what, const ImgCheckResult *before, gboolean was_rebuilt)
{
  g_auto (ImgCheckResult) repaired = { 0 };
  g_auto (ImgCheckResult) after = { 0 };
  g_autoptr (ImgError) error = NULL;
  gboolean success;

  img_check_result_init (&repaired);
  img_check_result_init (&after);
  success = img_driver_find ("qcow2")->repair (storage, what, &repaired, NULL, NULL, &error);
  fuzz_check_error (success, &error);
  fuzz_require (check (storage, &after), "after a repair there is no verdict any more");
  compare (before, &after, was_rebuilt || has_rebuilt (&repaired));
  fuzz_require (!success || (after.corruptions == repaired.corruptions && after.leaks == repaired.leaks),
                "a repair does not know what is left");
}

static void
run (const guint8 *data, gsize length, const guint8 *settings)
{
  ImgRepair what = settings[0] & LEAKS_ONLY ? IMG_REPAIR_LEAKS : IMG_REPAIR_ALL;
  g_autoptr (ImgStorage) storage = copy_writable (data, length);
  g_auto (ImgCheckResult) before = { 0 };
  gboolean was_rebuilt = FALSE;

  img_check_result_init (&before);
  if (storage == NULL || !check (storage, &before))
    return;
  if (settings[1] != 0)
    was_rebuilt = repair_with_fault (storage, what, settings[1]);
  repair (storage, what, &before, was_rebuilt);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  gsize n_ops;

  if (size < SETTINGS + 1)
    return 0;
  n_ops = MIN (data[size - 1] % (MAX_OPS + 1), (size - SETTINGS - 1) / FUZZ_OP_SIZE);
  fuzz_limits_begin (1);
  run (data, size - SETTINGS - 1 - n_ops * FUZZ_OP_SIZE, data + size - SETTINGS - 1);
  fuzz_limits_end ();
  return 0;
}
