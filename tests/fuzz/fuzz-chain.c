/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A chain: one to four files, and a policy that grants some of them, in any order, also twice, also
 * as each other's backing file. Whatever it answers, opening ends, and what was opened reads
 * consistently.
 *
 * The input ends with eight bytes for each file, two bytes of settings and the number of files; the
 * files' contents (fuzz-storage.h) stand before that, one after another. */

#include "config.h"

#include "fuzz-checks.h"
#include "fuzz-limits.h"
#include "fuzz-target.h"

#define MAX_FILES 4
#define FILE_ENTRY 8
#define SETTINGS 2
#define MAX_OPS 8
#define MAX_WALK 32

typedef struct
{
  const guint8 *bytes;
  gsize length;
  guint8
    answer; /* bit 0: deny; bits 1 and 2: 0, 3 keep the format name, 1 says raw, 2 says qcow2 */
  guint8 op_kind;
  guint8 op_detail;
} File;

typedef struct
{
  File files[MAX_FILES];
  guint n_files;
  guint max_depth; /* 0: the default */
  guint max_files;
  gboolean may_probe;
} Input;

static gboolean
parse_input (Input *input, const guint8 *data, gsize size)
{
  const guint8 *entries;
  gsize rest;

  memset (input, 0, sizeof *input);
  if (size < SETTINGS + 1)
    return FALSE;
  input->n_files = 1 + data[size - 1] % MAX_FILES;
  input->may_probe = data[size - 2] & 1;
  input->max_depth = data[size - 3] & 15;
  input->max_files = data[size - 3] >> 4;
  if (size < SETTINGS + 1 + input->n_files * FILE_ENTRY)
    return FALSE;
  rest = size - SETTINGS - 1 - input->n_files * FILE_ENTRY;
  entries = data + rest;
  for (guint i = 0; i < input->n_files; i++, entries += FILE_ENTRY)
    {
      File *file = &input->files[i];
      gsize wanted = entries[0] | (gsize) entries[1] << 8 | (gsize) entries[2] << 16;

      file->bytes = data;
      file->length = MIN (wanted, rest);
      file->answer = entries[3];
      file->op_kind = entries[4];
      file->op_detail = entries[5];
      data += file->length;
      rest -= file->length;
    }
  return TRUE;
}

/* ---- the policy ---- */

typedef struct
{
  ImgPolicy parent;
  const Input *input;
  guint n_asked;
} FuzzPolicy;

static guint
choose_file (const Input *input, const ImgWanted *wanted)
{
  return (guint8) wanted->name[0] % input->n_files;
}

static ImgStorage *
fuzz_policy_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  FuzzPolicy *self = (FuzzPolicy *) policy;
  guint index = choose_file (self->input, reference->wanted);
  const File *file = &self->input->files[index];

  self->n_asked++;
  fuzz_require (self->n_asked <= IMG_DEFAULT_MAX_FILES * 2, "the policy is asked without end");
  fuzz_require (reference->parent != NULL && reference->depth > 0, "a reference from nowhere");
  fuzz_require (reference->wanted->name != NULL, "a reference without a name");
  if (file->answer & 1)
    {
      img_error_set (error, IMG_CODE_REFERENCE_DENIED, "The fuzzer denied this file");
      return NULL;
    }
  switch (file->answer >> 1 & 3)
    {
    case 1:
      g_free (reference->format_name);
      reference->format_name = g_strdup ("raw");
      break;
    case 2:
      g_free (reference->format_name);
      reference->format_name = g_strdup ("qcow2");
      break;
    default:
      break;
    }
  return &fuzz_storage_new (file->bytes, file->length, index)->parent;
}

static void
fuzz_policy_free (ImgPolicy *policy)
{
  g_free (policy);
}

static const ImgPolicyClass fuzz_policy_class = { fuzz_policy_decide, fuzz_policy_free };

static FuzzPolicy *
fuzz_policy_new (const Input *input)
{
  FuzzPolicy *self = g_new0 (FuzzPolicy, 1);

  img_policy_init (&self->parent, &fuzz_policy_class);
  self->parent.may_probe = input->may_probe;
  self->input = input;
  return self;
}

/* ---- checks ---- */

/* Each file at most once: @seen has a bit for each. */
static void
see (ImgStorage *storage, guint *seen)
{
  ImgIdentity identity;

  if (storage == NULL || !img_storage_get_identity (storage, &identity))
    return;
  fuzz_require (!(*seen & 1u << identity.inode), "a file that refers to itself was opened");
  *seen |= 1u << identity.inode;
}

static void
check_depth (ImgImage *image, const Input *input)
{
  guint seen = 0;
  guint limit = input->max_depth != 0 ? input->max_depth : IMG_DEFAULT_MAX_DEPTH;
  guint depth = 0;

  for (ImgImage *layer = image; layer != NULL; layer = img_image_get_backing (layer))
    {
      depth++;
      fuzz_require (img_image_is_ready (layer), "a layer of a ready chain is not ready");
      see (img_image_get_storage (layer), &seen);
      see (img_image_get_data_storage (layer), &seen);
    }
  fuzz_require (depth <= limit, "%u layers where %u are allowed", depth, limit);
}

static void
check_chain (ImgImage *image, const Input *input)
{
  check_depth (image, input);
  fuzz_check_map_walk (image, IMG_BLOCK_MAP_NONE, MAX_WALK);
  fuzz_check_map_walk (image, IMG_BLOCK_MAP_HOST_HOLES, MAX_WALK);
  fuzz_check_map_walk (image, IMG_BLOCK_MAP_TOP_ONLY, MAX_WALK);
  for (guint i = 0; i < MAX_OPS; i++)
    {
      const File *file = &input->files[i % input->n_files];
      FuzzOp op = { .kind = (guint8) (file->op_kind + i),
                    .detail = (guint8) (file->op_detail ^ i << 5) };

      op.length = (guint16) (file->op_detail * 257);
      op.offset = (guint64) file->op_kind << 8 | file->op_detail;
      fuzz_check_op (image, &op);
    }
}

static void
run (const Input *input)
{
  FuzzStorage *storage = fuzz_storage_new (input->files[0].bytes, input->files[0].length, 0);
  ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
  FuzzPolicy *policy = fuzz_policy_new (input);
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;
  gboolean success;

  options.max_depth = input->max_depth;
  options.max_files = input->max_files;
  image = img_image_open (&storage->parent, &options, NULL, &error);
  fuzz_check_error (image != NULL, &error);
  if (image != NULL)
    {
      fuzz_require (policy->n_asked == 0, "opening one file asked for another");
      success = img_image_open_references (image, &policy->parent, NULL, &error);
      fuzz_check_error (success, &error);
      fuzz_require (success == img_image_is_ready (image),
                    "the image does not know whether it is ready");
      if (success)
        check_chain (image, input);
    }
  g_clear_pointer (&image, img_image_unref);
  img_policy_unref (&policy->parent);
  img_storage_unref (&storage->parent);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Input input;

  if (!parse_input (&input, data, size))
    return 0;
  fuzz_limits_begin (IMG_DEFAULT_MAX_DEPTH);
  run (&input);
  fuzz_limits_end ();
  return 0;
}
