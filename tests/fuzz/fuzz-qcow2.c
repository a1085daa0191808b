/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One qcow2 file: probe, inspect, open, list, map and read.
 *
 * The input is a sparse file (fuzz-storage.h), followed by operations of twelve bytes each, four
 * bytes of settings and the number of operations. */

#include "config.h"

#include "fuzz-checks.h"
#include "fuzz-limits.h"
#include "fuzz-target.h"
#include "img-alloc.h"
#include "img-simple-storages.h"

#define MAX_OPS 24
#define SETTINGS 4

/* In the first byte of the settings. */
#define SMALLEST_CACHES 1
#define NEVER_READY 2
#define DEFAULT_CACHES 4 /* large blocks of memory are slow under AddressSanitizer */

#define MAX_WALK 64
#define MAX_SNAPSHOTS 3
#define VM_STATE_LENGTH 4096

typedef struct
{
  const guint8 *file;
  gsize file_length;
  FuzzOp ops[MAX_OPS];
  guint n_ops;
  gsize metadata_cache_size;
  gsize decoded_cache_size;
  gboolean never_ready;
  guint8 fail_io;    /* number of the request that fails in the first round; 0: none */
  guint8 fail_alloc; /* the same for allocations */
} Input;

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
  if (!(settings[0] & DEFAULT_CACHES))
    {
      input->metadata_cache_size = settings[0] & SMALLEST_CACHES ? 1 : 64 << 10;
      input->decoded_cache_size = settings[0] & SMALLEST_CACHES ? 1 : 256 << 10;
    }
  input->never_ready = settings[0] & NEVER_READY;
  input->fail_io = settings[1];
  input->fail_alloc = settings[2];
  room = (size - SETTINGS - 1) / FUZZ_OP_SIZE;
  input->n_ops = MIN (data[size - 1] % (MAX_OPS + 1), room);
  input->file_length = size - SETTINGS - 1 - input->n_ops * FUZZ_OP_SIZE;
  for (guint i = 0; i < input->n_ops; i++)
    input->ops[i] = fuzz_op_parse (data + input->file_length + i * FUZZ_OP_SIZE);
}

/* ---- the policy: a backing file is never asked for, a data file is the image file once more ----
 */

typedef struct
{
  ImgPolicy parent;
  ImgStorage *data_storage;
  guint n_asked;
} FuzzPolicy;

static ImgStorage *
fuzz_policy_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  FuzzPolicy *self = (FuzzPolicy *) policy;

  self->n_asked++;
  fuzz_require (reference->wanted->role == IMG_REFERENCE_DATA_FILE,
                "a backing file was asked for though it was overridden");
  return img_storage_ref (self->data_storage);
}

static void
fuzz_policy_free (ImgPolicy *policy)
{
  img_storage_unref (((FuzzPolicy *) policy)->data_storage);
  g_free (policy);
}

static const ImgPolicyClass fuzz_policy_class = { fuzz_policy_decide, fuzz_policy_free };

static FuzzPolicy *
fuzz_policy_new (const Input *input)
{
  FuzzPolicy *self = g_new0 (FuzzPolicy, 1);

  img_policy_init (&self->parent, &fuzz_policy_class);
  self->data_storage = &fuzz_storage_new (input->file, input->file_length, 2)->parent;
  return self;
}

/* ---- opening ---- */

static ImgImage *
open_image (const Input *input, FuzzStorage *storage, const char *snapshot, ImgError **error)
{
  ImgImageOptions options = { .driver = img_driver_find ("qcow2") };

  options.layout.snapshot = snapshot;
  options.layout.metadata_cache_size = input->metadata_cache_size;
  options.decoded_cache_size = input->decoded_cache_size;
  return img_image_open (&storage->parent, &options, NULL, error);
}

static gboolean
wants (ImgImage *image, ImgReferenceRole role)
{
  GPtrArray *wanted = img_image_get_wanted (image);

  for (guint i = 0; i < wanted->len; i++)
    if (((ImgWanted *) g_ptr_array_index (wanted, i))->role == role)
      return TRUE;
  return FALSE;
}

static void
check_pending (ImgImage *image)
{
  g_autoptr (ImgError) error = NULL;
  guint8 byte;

  if (img_image_get_size (image) == 0)
    return;
  fuzz_require (!img_image_read (image, 0, &byte, 1, NULL, &error),
                "a read before the references are open");
  fuzz_require (error->code == IMG_CODE_REFERENCES_PENDING,
                "the wrong error before the references are open");
}

/* FALSE: the references cannot be opened, which is an answer too. */
static gboolean
make_ready (const Input *input, ImgImage *image)
{
  gboolean wants_backing = wants (image, IMG_REFERENCE_BACKING_FILE);
  gboolean wants_data = wants (image, IMG_REFERENCE_DATA_FILE);
  FuzzPolicy *policy = fuzz_policy_new (input);
  g_autoptr (ImgError) error = NULL;
  gboolean success;

  if (wants_backing || wants_data)
    {
      g_autoptr (ImgPolicy) deny = img_policy_new_deny ();

      check_pending (image);
      fuzz_require (!img_image_open_references (image, deny, NULL, &error),
                    "a denied reference was opened");
      fuzz_require (error->code == IMG_CODE_REFERENCE_DENIED || error->code == IMG_CODE_UNSUPPORTED,
                    "the wrong error for a denied reference: %s", error->text);
      fuzz_check_error (FALSE, &error);
      check_pending (image);
    }
  if (wants_backing)
    {
      success = img_image_set_backing (image, NULL, &error);
      fuzz_check_error (success, &error);
      fuzz_require (success, "the backing image cannot be overridden");
    }
  success = img_image_open_references (image, &policy->parent, NULL, &error);
  fuzz_check_error (success, &error);
  fuzz_require (policy->n_asked == (wants_data ? 1 : 0), "the policy was asked %u times",
                policy->n_asked);
  fuzz_require (success == img_image_is_ready (image),
                "the image does not know whether it is ready");
  img_policy_unref (&policy->parent);
  return success;
}

/* ---- rounds ---- */

/* What failed for a reason that has gone away works now: no cache kept the failure, or half of a
 * table. */
static void
check_recovery (const Input *input, ImgImage *image)
{
  FuzzStorage *storage = fuzz_storage_new (input->file, input->file_length, 1);
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgImage) reference = open_image (input, storage, NULL, &error);

  fuzz_require (reference != NULL && make_ready (input, reference),
                "an image that opens with failures and not without");
  for (guint i = 0; i < input->n_ops; i++)
    {
      fuzz_check_same (image, reference, &input->ops[i]);
      fuzz_check_op (image, &input->ops[i]);
    }
  img_storage_unref (&storage->parent);
}

/* Storages and allocations fail somewhere; nothing but errors may come of it. */
static void
run_with_faults (const Input *input)
{
  FuzzStorage *storage = fuzz_storage_new (input->file, input->file_length, 1);
  g_autoptr (ImgError) error = NULL;
  ImgImage *image;

  storage->fail_at = input->fail_io;
  if (input->fail_alloc != 0)
    img_alloc_set_fault (input->fail_alloc & 0x7f, input->fail_alloc & 0x80);
  image = open_image (input, storage, NULL, &error);
  fuzz_check_error (image != NULL, &error);
  if (image != NULL && make_ready (input, image))
    for (guint i = 0; i < input->n_ops; i++)
      fuzz_exercise_op (image, &input->ops[i]);
  img_alloc_set_fault (0, FALSE);
  storage->fail_at = 0;

  if (image != NULL && img_image_is_ready (image) && img_image_get_size (image) > 0)
    check_recovery (input, image);
  g_clear_pointer (&image, img_image_unref);
  img_storage_unref (&storage->parent);
}

/* Behind the disk, wherever the tables lead. */
static void
check_vm_state (ImgImage *image, const FuzzOp *op)
{
  g_autoptr (ImgError) error = NULL;
  guint8 bytes[VM_STATE_LENGTH];
  gboolean success;

  success = img_image_read_vm_state (image, op->offset, bytes, sizeof bytes, NULL, &error);
  fuzz_check_error (success, &error);
}

static void
check_ready_image (const Input *input, ImgImage *image)
{
  fuzz_check_map_walk (image, IMG_BLOCK_MAP_NONE, MAX_WALK);
  fuzz_check_map_walk (image, IMG_BLOCK_MAP_TOP_ONLY | IMG_BLOCK_MAP_HOST_HOLES, MAX_WALK);
  for (guint i = 0; i < input->n_ops; i++)
    fuzz_check_op (image, &input->ops[i]);
  for (guint i = 0; i < input->n_ops; i++)
    check_vm_state (image, &input->ops[i]);
}

static void
check_snapshots (const Input *input, FuzzStorage *storage, GPtrArray *snapshots)
{
  for (guint i = 0; i < MIN (snapshots->len, MAX_SNAPSHOTS); i++)
    {
      const ImgSnapshotInfo *info = g_ptr_array_index (snapshots, i);
      g_autoptr (ImgImage) image = NULL;
      g_autoptr (ImgError) error = NULL;

      fuzz_require (info->id != NULL && info->name != NULL, "a snapshot without id or name");
      image = open_image (input, storage, info->id, &error);
      fuzz_require (image != NULL || error == NULL || error->code != IMG_CODE_SNAPSHOT_NOT_FOUND,
                    "a listed snapshot is not found");
      fuzz_check_error (image != NULL, &error);
      if (image != NULL && make_ready (input, image))
        check_ready_image (input, image);
    }
}

static void
check_description (ImgImage *image)
{
  ImgLayout *layout = img_image_get_layout (image);
  g_autoptr (ImgError) error = NULL;
  ImgDescription description = { 0 };

  fuzz_check_error (layout->klass->describe (layout, &description, &error), &error);
  img_description_clear (&description);
}

static GPtrArray *
list_snapshots (ImgImage *image)
{
  ImgLayout *layout = img_image_get_layout (image);
  g_autoptr (ImgError) error = NULL;
  GPtrArray *snapshots = layout->klass->list_snapshots (layout, NULL, &error);

  fuzz_check_error (snapshots != NULL, &error);
  return snapshots;
}

/* What is opened for its metadata tells no less than what is opened to be read, and shows nothing of the disk. */
static void
run_metadata (const Input *input)
{
  FuzzStorage *storage = fuzz_storage_new (input->file, input->file_length, 1);
  const ImgImageOptions options = { .driver = img_driver_find ("qcow2"), .layout.metadata_only = TRUE };
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgError) read_error = NULL;
  g_autoptr (ImgImage) image = img_image_open (&storage->parent, &options, NULL, &error);
  g_autoptr (GPtrArray) snapshots = NULL;
  guint8 byte;

  fuzz_check_error (image != NULL, &error);
  if (image != NULL)
    {
      check_description (image);
      snapshots = list_snapshots (image);
      fuzz_require (!img_image_read (image, 0, &byte, 1, NULL, &read_error), "a disk was read that is to stay closed");
      fuzz_require (read_error->code == IMG_CODE_METADATA_ONLY, "the wrong error for a disk that is to stay closed");
    }
  fuzz_check_work (storage);
  img_storage_unref (&storage->parent);
}

static void
run_plain (const Input *input)
{
  FuzzStorage *storage = fuzz_storage_new (input->file, input->file_length, 1);
  g_autoptr (GPtrArray) snapshots = NULL;
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;
  ImgFindings findings;
  gboolean inspected;

  storage->never_ready = input->never_ready;
  img_findings_init (&findings);
  inspected = fuzz_check_inspect (storage, img_driver_find ("qcow2"), &findings);
  fuzz_check_work (storage);

  storage->bytes_read = storage->n_ios = 0;
  image = open_image (input, storage, NULL, &error);
  fuzz_check_work (storage);
  fuzz_check_error (image != NULL, &error);
  if (image != NULL)
    {
      fuzz_require (inspected, "an image was opened that inspect refuses");
      fuzz_require (img_image_get_size (image) <= IMG_MAX_SIZE, "a disk larger than any disk");
      fuzz_check_findings (&findings, image);
      check_description (image);
      snapshots = list_snapshots (image);
      if (make_ready (input, image))
        check_ready_image (input, image);
    }
  /* One image at a time: the limit of memory is that of one. */
  g_clear_pointer (&image, img_image_unref);
  if (snapshots != NULL)
    check_snapshots (input, storage, snapshots);
  img_findings_clear (&findings);
  img_storage_unref (&storage->parent);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Input input;

  parse_input (&input, data, size);
  /* A second one beside it after failures. */
  fuzz_limits_begin (input.fail_io != 0 || input.fail_alloc != 0 ? 2 : 1);
  run_plain (&input);
  run_metadata (&input);
  if (input.fail_io != 0 || input.fail_alloc != 0)
    run_with_faults (&input);
  fuzz_limits_end ();
  return 0;
}
