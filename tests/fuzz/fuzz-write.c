/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One qcow2 file, opened for writing with the smallest cache: change it, close it, look again.
 *
 * The input has the shape of those of fuzz-qcow2.c: a sparse file (fuzz-storage.h), operations of
 * twelve bytes each, four bytes of settings and the number of operations.
 *
 * Only what was without corruption before is held to a model, and must be without corruption after.
 * An image that lies has no such bound: a cluster that is in use and has no refcount is handed out
 * once more, and each reference that is added to it is one more corruption. */

#include "config.h"

#include "fuzz-bounded.h"
#include "fuzz-checks.h"
#include "fuzz-limits.h"
#include "fuzz-model.h"
#include "fuzz-target.h"
#include "img-alloc.h"

#include <errno.h>

#define MAX_OPS 64
#define SETTINGS 4
#define MAX_LENGTH ((guint64) 256 << 10)
/* The checker's memory grows with the clusters of the file, and that is not what is tested here. */
#define MAX_CHECKED (64 * IMG_MIB)
/* All operations write less, with their tables. */
#define MAX_GROWTH (32 * IMG_MIB)

/* In the detail of an operation. */
#define ALIGNED 0x01 /* to clusters */
#define NEAR 0x02    /* to the beginning of the disk */
#define LONG 0x04
#define WITH_SECTORS 0x08
#define MODE(detail) ((detail) >> 4 & 3)
#define ZEROES 0x40
#define NOISE 0x80 /* what does not compress */

typedef struct
{
  const guint8 *file;
  gsize file_length;
  FuzzOp ops[MAX_OPS];
  guint n_ops;
  guint64 fail_io;   /* number of the request after opening that fails; 0: none */
  guint8 fail_alloc; /* the same for allocations */
} Input;

typedef struct
{
  FuzzBounded *file;
  FuzzBounded *data;
  ImgImage *image;
  FuzzModel *model;     /* NULL: the image was damaged before, or nobody knows */
  guint64 n_leaks;      /* before */
  gboolean has_failed;  /* a storage or an allocation has */
  gboolean is_refusing; /* the handle has given up */
  ImgCode refusal;
  guint8 bytes[MAX_LENGTH];
} Run;

static Run run;

static void
parse_input (Input *input, const guint8 *data, gsize size)
{
  const guint8 *settings;
  gsize room;

  memset (input, 0, sizeof *input);
  input->file = data;
  input->file_length = size;
  if (size < SETTINGS + 1)
    return;
  settings = data + size - SETTINGS - 1;
  input->fail_io = settings[1] | settings[3] << 8;
  input->fail_alloc = settings[2];
  room = (size - SETTINGS - 1) / FUZZ_OP_SIZE;
  input->n_ops = MIN (data[size - 1] % (MAX_OPS + 1), room);
  input->file_length = size - SETTINGS - 1 - input->n_ops * FUZZ_OP_SIZE;
  for (guint i = 0; i < input->n_ops; i++)
    input->ops[i] = fuzz_op_parse (data + input->file_length + i * FUZZ_OP_SIZE);
}

/* ---- the policy: the data file is another that can be written, a backing file there is none ----
 */

typedef struct
{
  ImgPolicy parent;
  ImgStorage *data_storage;
} WritePolicy;

static ImgStorage *
write_policy_decide (ImgPolicy *policy,
                     ImgReference *reference,
                     ImgCancel *cancel,
                     ImgError **error)
{
  fuzz_require (reference->wanted->role == IMG_REFERENCE_DATA_FILE,
                "a backing file was asked for though it was overridden");
  return img_storage_ref (((WritePolicy *) policy)->data_storage);
}

static void
write_policy_free (ImgPolicy *policy)
{
  g_free (policy);
}

static const ImgPolicyClass write_policy_class = { write_policy_decide, write_policy_free };

/* ---- opening and checking ---- */

/* What storages and allocations do by themselves is known; the rest fuzz_check_error () judges. */
static void
check_error (gboolean success, ImgError **error)
{
  if (*error != NULL && ((*error)->code == IMG_CODE_NO_MEMORY ||
                         ((*error)->code == IMG_CODE_ERRNO && (*error)->system_errno == EIO)))
    run.has_failed = TRUE;
  if (!success && *error != NULL && (*error)->code == IMG_CODE_ERRNO &&
      ((*error)->system_errno == ENOSPC || (*error)->system_errno == EFBIG))
    {
      run.has_failed = TRUE;
      img_error_clear (error);
      return;
    }
  fuzz_check_error (success, error);
}

static ImgImage *
open_image (gboolean writable)
{
  ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
  g_autoptr (ImgError) error = NULL;
  ImgImage *image;

  options.layout.metadata_cache_size = 1;
  options.layout.writable = writable;
  options.decoded_cache_size = 1;
  image = img_image_open (&run.file->parent, &options, NULL, &error);
  check_error (image != NULL, &error);
  return image;
}

static gboolean
make_ready (ImgImage *image)
{
  WritePolicy *policy = g_new0 (WritePolicy, 1);
  g_autoptr (ImgError) error = NULL;
  gboolean success = TRUE;
  GPtrArray *wanted = img_image_get_wanted (image);

  img_policy_init (&policy->parent, &write_policy_class);
  policy->data_storage = &run.data->parent;
  for (guint i = 0; i < wanted->len && success; i++)
    if (((ImgWanted *) g_ptr_array_index (wanted, i))->role == IMG_REFERENCE_BACKING_FILE)
      {
        success = img_image_set_backing (image, NULL, &error);
        break;
      }
  success = success && img_image_open_references (image, &policy->parent, NULL, &error);
  check_error (success, &error);
  img_policy_unref (&policy->parent);
  return success;
}

/* FALSE: there is no verdict. */
static gboolean
check_file (ImgCheckResult *result)
{
  g_autoptr (ImgError) error = NULL;
  gboolean success;
  guint64 size;

  if (!img_storage_get_size (&run.file->parent, &size, &error) || size > MAX_CHECKED)
    return FALSE;
  fuzz_limits_pause ();
  success = img_driver_find ("qcow2")->check (&run.file->parent, result, NULL, NULL, &error);
  fuzz_limits_resume ();
  check_error (success, &error);
  return success && result->check_errors == 0;
}

static gboolean
describe (ImgImage *image, ImgDescription *description)
{
  ImgLayout *layout = img_image_get_layout (image);
  g_autoptr (ImgError) error = NULL;
  gboolean success = layout->klass->describe (layout, description, &error);

  check_error (success, &error);
  return success;
}

/* They are not kept up to date: the first change gives them up, and their clusters are leaked. */
static gboolean
has_bitmaps (ImgImage *image)
{
  ImgDescription description = { 0 };
  gboolean may_have = !describe (image, &description) || description.bitmaps != NULL;

  img_description_clear (&description);
  return may_have;
}

/* Clusters that are counted behind the end of the file, too: it may grow over them, no more. */
static guint64
count_leaks (void)
{
  g_auto (ImgCheckResult) result;
  gboolean success;

  img_check_result_init (&result);
  run.file->behind = MAX_GROWTH;
  success = check_file (&result);
  run.file->behind = 0;
  return success ? result.leaks : G_MAXUINT64;
}

#define MAX_BLOCKS 4096

/* A check does not look where clusters lie in an external data file, as QEMU's does not; whoever reads or writes
 * them does. */
static gboolean
is_mapped_well (void)
{
  guint64 size = img_image_get_size (run.image);
  g_autoptr (ImgError) error = NULL;
  guint64 offset = 0;
  ImgBlock block;

  if (img_image_get_data_storage (run.image) == NULL)
    return TRUE;
  for (guint n = 0; offset < size && n < MAX_BLOCKS; n++, offset += block.length)
    if (!img_image_map (run.image, offset, size - offset, IMG_BLOCK_MAP_TOP_ONLY, &block, NULL, &error))
      return FALSE;
  return offset == size;
}

static void
look_before (void)
{
  g_auto (ImgCheckResult) result;

  img_check_result_init (&result);
  if (!check_file (&result) || result.corruptions > 0 || !is_mapped_well ())
    return;
  run.model = fuzz_model_new ();
  run.n_leaks = has_bitmaps (run.image) ? G_MAXUINT64 : count_leaks ();
}

static gboolean
is_marked_corrupt (ImgImage *image)
{
  ImgDescription description = { 0 };
  gboolean is_corrupt = describe (image, &description) && description.is_corrupt;

  img_description_clear (&description);
  return is_corrupt;
}

/* ---- operations ---- */

static void
fill_bytes (const FuzzOp *op, guint number, gsize length)
{
  guint32 state = number * 2654435761u | 1;

  if (op->detail & ZEROES)
    {
      memset (run.bytes, 0, length);
      return;
    }
  for (gsize i = 0; i < length; i++)
    {
      state = state * 1664525 + 1013904223;
      run.bytes[i] = op->detail & NOISE ? (guint8) (state >> 24) : (guint8) (number + (i >> 9));
    }
}

static void
choose_range (const FuzzOp *op, guint64 *offset, guint64 *length)
{
  ImgLayout *layout = img_image_get_layout (run.image);
  guint64 size = img_image_get_size (run.image);
  guint64 cluster = layout->write_granularity;

  *length = ((guint64) op->length + 1) << (op->detail & LONG ? 2 : 0);
  *offset = op->offset % (op->detail & NEAR ? MIN (size, 32 * cluster) : size);
  if (op->detail & ALIGNED)
    {
      *offset = img_align_down (*offset, cluster);
      *length = img_align_up (*length, cluster);
    }
  else if (op->detail & WITH_SECTORS)
    {
      *offset = img_align_down (*offset, 512);
      *length = img_align_up (*length, 512);
    }
  *length = MIN (MIN (*length, MAX_LENGTH), size - *offset);
}

static gboolean
all_zero (const guint8 *bytes, gsize length)
{
  return length == 0 || (bytes[0] == 0 && memcmp (bytes, bytes + 1, length - 1) == 0);
}

/* The whole clusters of the range. */
static void
check_discarded (guint64 offset, guint64 length)
{
  guint64 cluster = img_image_get_layout (run.image)->write_granularity;
  guint64 start = img_align_up (offset, cluster);
  guint64 end = offset + length;
  g_autoptr (ImgError) error = NULL;

  if (end != img_image_get_size (run.image))
    end = img_align_down (end, cluster);
  if (start >= end)
    return;
  if (!img_image_read (run.image, start, run.bytes, end - start, NULL, &error))
    check_error (FALSE, &error);
  else
    fuzz_require (all_zero (run.bytes, end - start),
                  "discarded clusters do not show what is below");
}

static gboolean
change_range (const FuzzOp *op,
              guint64 offset,
              guint64 length,
              gboolean *is_exact,
              const guint8 **bytes,
              ImgError **error)
{
  static const ImgDiscardMode modes[] = { IMG_DISCARD_ANY, IMG_DISCARD_ZERO, IMG_DISCARD_BACKING,
                                          IMG_DISCARD_ZERO };
  struct iovec iov[3];

  *is_exact = TRUE;
  *bytes = run.bytes;
  switch (op->kind & 7)
    {
    case 0:
      iov[0] = (struct iovec){ run.bytes, length / 3 };
      iov[1] = (struct iovec){ run.bytes + length / 3, length / 2 - length / 3 };
      iov[2] = (struct iovec){ run.bytes + length / 2, length - length / 2 };
      return img_image_writev (run.image, offset, iov, G_N_ELEMENTS (iov), NULL, error);
    case 1:
    case 2:
      return img_image_write (run.image, offset, run.bytes, length, NULL, error);
    case 3:
      *bytes = NULL;
      return img_image_write_zeroes (run.image, offset, length,
                                     MODE (op->detail) & 1 ? IMG_ZERO_UNMAP : IMG_ZERO_NONE, NULL,
                                     error);
    case 4:
      *bytes = NULL;
      *is_exact = modes[MODE (op->detail)] == IMG_DISCARD_ZERO;
      return img_image_discard (run.image, offset, length, modes[MODE (op->detail)], NULL, error);
    default:
      return img_image_write_compressed (run.image, offset, run.bytes, length, NULL, error);
    }
}

static void
note_refusal (const ImgError *error)
{
  if (error == NULL || run.is_refusing)
    return;
  run.is_refusing = error->code == IMG_CODE_FLUSH_FAILED ||
                    (error->code == IMG_CODE_CORRUPT && is_marked_corrupt (run.image));
  run.refusal = error->code;
}

static void
run_range (const FuzzOp *op, guint number)
{
  g_autoptr (ImgError) error = NULL;
  guint64 offset, length;
  const guint8 *bytes;
  gboolean is_exact, success;

  if (img_image_get_size (run.image) == 0)
    return;
  choose_range (op, &offset, &length);
  fill_bytes (op, number, length);
  if (run.model != NULL)
    fuzz_model_touch (run.model, run.image, offset, length);
  success = change_range (op, offset, length, &is_exact, &bytes, &error);
  note_refusal (error);
  check_error (success, &error);
  if (run.model == NULL)
    return;
  if (success && is_exact)
    fuzz_model_set (run.model, offset, bytes, length);
  else
    fuzz_model_adopt (run.model, run.image, offset, bytes, length);
  if (success && (op->kind & 7) == 4 && MODE (op->detail) == 2)
    check_discarded (offset, length);
}

static void
run_resize (const FuzzOp *op)
{
  static const ImgPreallocate modes[] = { IMG_PREALLOCATE_OFF, IMG_PREALLOCATE_METADATA,
                                          IMG_PREALLOCATE_FALLOC, IMG_PREALLOCATE_FULL };
  guint64 old = img_image_get_size (run.image);
  guint64 delta = ((guint64) op->length + 1) << (op->detail & LONG ? 2 : 0);
  gboolean grows = op->detail & NEAR;
  g_autoptr (ImgError) error = NULL;
  gboolean success;

  /* While the L1 table grows there are two of it. */
  fuzz_limits_begin (2);
  success = img_image_resize (run.image, grows ? old + delta : old - MIN (old, delta), TRUE,
                              grows ? modes[MODE (op->detail)] : IMG_PREALLOCATE_OFF, NULL, NULL, &error);
  fuzz_limits_begin (1);
  note_refusal (error);
  check_error (success, &error);
  if (run.model == NULL)
    return;
  fuzz_model_resize (run.model, old, img_image_get_size (run.image));
  if (img_image_get_size (run.image) > old)
    {
      delta = MIN (img_image_get_size (run.image) - old, MAX_LENGTH);
      success = img_image_read (run.image, old, run.bytes, delta, NULL, &error);
      fuzz_require (!success || all_zero (run.bytes, delta), "a disk that grew shows something");
      check_error (success, &error);
    }
}

static void
run_flush (void)
{
  g_autoptr (ImgError) error = NULL;
  gboolean success = img_image_flush (run.image, NULL, &error);

  note_refusal (error);
  check_error (success, &error);
}

/* A corrupt image whose flush fails is poisoned too, which counts more; there is no way back. */
static void
require_refusal (const ImgError *error, const char *what)
{
  fuzz_require (error->code == run.refusal || error->code == IMG_CODE_FLUSH_FAILED,
                "the wrong refusal of a %s: %s", what, error->text);
  run.refusal = error->code;
}

/* What has given up does not begin again. */
static void
check_refusal (void)
{
  g_autoptr (ImgError) error = NULL;
  guint64 size = img_image_get_size (run.image);

  if (size > 0)
    {
      fuzz_require (!img_image_write (run.image, size / 2, "x", 1, NULL, &error),
                    "a write after the image was given up");
      require_refusal (error, "write");
      img_error_clear (&error);
    }
  fuzz_require (!img_image_resize (run.image, size + 512, TRUE, IMG_PREALLOCATE_OFF, NULL, NULL, &error),
                "a resize after the image was given up");
  require_refusal (error, "resize");
  img_error_clear (&error);
  if (run.refusal == IMG_CODE_FLUSH_FAILED)
    {
      fuzz_require (!img_image_flush (run.image, NULL, &error), "a flush after one failed");
      require_refusal (error, "flush");
    }
}

static void
run_op (const FuzzOp *op, guint number)
{
  switch (op->kind & 7)
    {
    case 6:
      run_flush ();
      break;
    case 7:
      run_resize (op);
      break;
    default:
      run_range (op, number);
    }
  if (run.is_refusing)
    check_refusal ();
}

/* ---- the end ---- */

static gboolean
close_image (void)
{
  g_autoptr (ImgError) error = NULL;
  gboolean success = img_image_close (run.image, &error);

  check_error (success, &error);
  fuzz_require (
    img_image_get_size (run.image) == 0 ||
      (!img_image_write (run.image, 0, "x", 1, NULL, &error) && error->code == IMG_CODE_CLOSED),
    "a write after the image was closed");
  return success;
}

static void
look_after (gboolean is_closed, gboolean is_dirty)
{
  g_auto (ImgCheckResult) result;

  img_check_result_init (&result);
  /* Refcounts of an image that says it was not closed are not to be relied on. */
  if (is_dirty || !check_file (&result))
    return;
  fuzz_require (result.corruptions == 0, "%" G_GUINT64_FORMAT " corruptions, the first: %s",
                result.corruptions,
                ((ImgCheckMessage *) g_ptr_array_index (result.messages, 0))->text);
  fuzz_require (!is_closed || run.has_failed || result.leaks <= run.n_leaks,
                "%" G_GUINT64_FORMAT " leaks after a clean close, %" G_GUINT64_FORMAT " before",
                result.leaks, run.n_leaks);
}

/* By another handle, which only reads. */
static void
reopen (gboolean is_closed)
{
  ImgDescription description = { 0 };
  g_autoptr (ImgImage) image = open_image (FALSE);
  gboolean is_dirty;

  fuzz_require (image != NULL || run.model == NULL, "what was written cannot be opened again");
  if (image == NULL || !make_ready (image) || run.model == NULL)
    return;
  is_dirty = describe (image, &description) && description.is_dirty;
  fuzz_require (!description.is_corrupt, "a whole image was marked as corrupt");
  fuzz_require (!is_dirty || !is_closed, "a clean close left the image dirty");
  img_description_clear (&description);
  if (is_closed)
    fuzz_model_verify (run.model, image, "reopened");
  look_after (is_closed, is_dirty);
}

static void
set_faults (const Input *input)
{
  if (input->fail_io != 0)
    run.file->fail_at = run.file->n_ios + input->fail_io;
  if (input->fail_alloc != 0)
    img_alloc_set_fault (input->fail_alloc & 0x7f, input->fail_alloc & 0x80);
}

static void
clear_faults (void)
{
  run.file->fail_at = 0;
  img_alloc_set_fault (0, FALSE);
}

static void
run_ops (const Input *input)
{
  gboolean is_closed;

  look_before ();
  set_faults (input);
  for (guint i = 0; i < input->n_ops; i++)
    run_op (&input->ops[i], i);
  clear_faults ();
  if (run.model != NULL)
    fuzz_model_verify (run.model, run.image, "before closing");
  is_closed = close_image ();
  g_clear_pointer (&run.image, img_image_unref);
  reopen (is_closed);
}

/* Opening repairs an image that was not closed, with memory for every cluster of the file. */
static gboolean
may_be_repaired (void)
{
  g_autoptr (ImgError) error = NULL;
  ImgFindings findings;
  gboolean is_dirty;
  guint64 size;

  img_findings_init (&findings);
  is_dirty = !img_driver_find ("qcow2")->inspect (&run.file->parent, &findings, NULL, &error) ||
             findings.description.is_dirty;
  img_findings_clear (&findings);
  return is_dirty && img_storage_get_size (&run.file->parent, &size, NULL) && size > MAX_CHECKED;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Input input;

  parse_input (&input, data, size);
  memset (&run, 0, G_STRUCT_OFFSET (Run, bytes));
  fuzz_limits_begin (1);
  run.file = fuzz_bounded_new (input.file, input.file_length);
  run.data = fuzz_bounded_new ((const guint8 *) "", 0);
  if (run.file != NULL && !may_be_repaired ())
    run.image = open_image (TRUE);
  if (run.image != NULL && make_ready (run.image))
    run_ops (&input);
  g_clear_pointer (&run.image, img_image_unref);
  g_clear_pointer (&run.model, fuzz_model_free);
  if (run.file != NULL)
    img_storage_unref (&run.file->parent);
  img_storage_unref (&run.data->parent);
  fuzz_require (fuzz_bounded_count () == 0, "a storage was not released");
  fuzz_limits_end ();
  return 0;
}
