/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Jobs that change an overlay together with what lies below it: whatever interrupts them, the disk that the overlay
 * shows through the files that it names is the same.
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "crash-log.h"
#include "crash-model.h"
#include "crash-random.h"
#include "crash-states.h"
#include "img-bytes.h"
#include "img-commit.h"
#include "img-mutant.h"
#include "img-policy.h"
#include "img-rebase.h"

#define KIB (1024 * (guint64) 1)
#define MAX_LAYERS 3
#define MAX_CALLS 5000
#define MAX_STATES 1500

/* ---- layers ---- */

typedef struct
{
  const char *name;   /* as the layer above names it; NULL: there is no such layer */
  const char *format;
  const char *below;  /* the name of the layer that it names; NULL: none */
  guint64 size;
  guint64 cluster_size;
  guint version;
  gboolean extended_l2;
} Layer;

typedef struct
{
  const char *path;
  gboolean is_rebase;
  Layer layers[MAX_LAYERS]; /* the overlay first */
  const char *target;       /* what is committed to, or becomes the backing file; NULL: nothing, or the next */
  gboolean keep;
  gboolean compress;
} Case;

#define QCOW2(name, below, size) { name, "qcow2", below, size, 4 * KIB, 3, FALSE }
#define QCOW2_V2(name, below, size) { name, "qcow2", below, size, 4 * KIB, 2, FALSE }
#define RAW(name, size) { name, "raw", NULL, size, 0, 0, FALSE }

static const Case cases[] = {
  { "commit", FALSE, { QCOW2 ("top", "base", 96 * KIB), QCOW2 ("base", NULL, 96 * KIB) } },
  { "commit-keep", FALSE, { QCOW2 ("top", "base", 96 * KIB), QCOW2 ("base", NULL, 96 * KIB) }, .keep = TRUE },
  { "commit-grow", FALSE, { QCOW2 ("top", "base", 96 * KIB), QCOW2 ("base", NULL, 50 * KIB) } },
  { "commit-smaller", FALSE, { QCOW2 ("top", "base", 50 * KIB), QCOW2 ("base", NULL, 96 * KIB) } },
  { "commit-raw", FALSE, { QCOW2 ("top", "base", 96 * KIB), RAW ("base", 80 * KIB) } },
  { "commit-v2", FALSE, { QCOW2_V2 ("top", "base", 96 * KIB), QCOW2_V2 ("base", NULL, 96 * KIB) } },
  { "commit-subclusters",
    FALSE,
    { { "top", "qcow2", "base", 256 * KIB, 16 * KIB, 3, TRUE }, { "base", "qcow2", NULL, 256 * KIB, 16 * KIB, 3, TRUE } } },
  { "commit-clusters",
    FALSE,
    { { "top", "qcow2", "base", 96 * KIB, 512, 3, FALSE }, { "base", "qcow2", NULL, 96 * KIB, 16 * KIB, 3, FALSE } } },
  { "commit-middle",
    FALSE,
    { QCOW2 ("top", "mid", 96 * KIB), QCOW2 ("mid", "base", 96 * KIB), QCOW2 ("base", NULL, 96 * KIB) } },
  { "commit-deep",
    FALSE,
    { QCOW2 ("top", "mid", 96 * KIB), QCOW2 ("mid", "base", 60 * KIB), QCOW2 ("base", NULL, 96 * KIB) },
    "base" },
  { "rebase", TRUE, { QCOW2 ("top", "old", 96 * KIB), QCOW2 ("old", NULL, 96 * KIB), QCOW2 ("new", NULL, 96 * KIB) }, "new" },
  { "rebase-v2",
    TRUE,
    { QCOW2_V2 ("top", "old", 96 * KIB), QCOW2 ("old", NULL, 96 * KIB), RAW ("new", 96 * KIB) },
    "new" },
  { "rebase-longer",
    TRUE,
    { QCOW2 ("top", "old", 96 * KIB), QCOW2 ("old", NULL, 50 * KIB + 512), RAW ("new", 128 * KIB) },
    "new" },
  { "rebase-longer-v2",
    TRUE,
    { QCOW2_V2 ("top", "old", 96 * KIB), QCOW2 ("old", NULL, 50 * KIB + 512), RAW ("new", 128 * KIB) },
    "new" },
  { "rebase-shorter",
    TRUE,
    { QCOW2 ("top", "old", 96 * KIB), RAW ("old", 128 * KIB), QCOW2 ("new", NULL, 50 * KIB + 512) },
    "new" },
  { "rebase-subclusters",
    TRUE,
    { { "top", "qcow2", "old", 256 * KIB, 16 * KIB, 3, TRUE }, RAW ("old", 200 * KIB), RAW ("new", 256 * KIB) },
    "new" },
  { "rebase-compress",
    TRUE,
    { QCOW2 ("top", "old", 98 * KIB), RAW ("old", 90 * KIB), RAW ("new", 90 * KIB) },
    "new",
    .compress = TRUE },
  { "flatten", TRUE, { QCOW2 ("top", "old", 96 * KIB), QCOW2 ("old", NULL, 96 * KIB) } },
  { "flatten-two",
    TRUE,
    { QCOW2 ("top", "old", 96 * KIB), QCOW2 ("old", "older", 96 * KIB), RAW ("older", 64 * KIB) } },
  { "first-backing", TRUE, { QCOW2 ("top", NULL, 96 * KIB), RAW ("new", 96 * KIB) }, "new" },
};

static int
find_layer (const Case *self, const char *name)
{
  for (int i = 0; i < MAX_LAYERS; i++)
    if (self->layers[i].name != NULL && g_strcmp0 (self->layers[i].name, name) == 0)
      return i;
  return -1;
}

static void
assert_no_error (ImgError *error)
{
  if (error != NULL)
    g_error ("%s", error->text);
}

static CrashPages *
make_layer (const Case *self, const Layer *layer)
{
  int below = find_layer (self, layer->below);
  CrashPages *pages = crash_pages_new (NULL);
  g_autoptr (ImgStorage) storage = crash_pages_storage_new (pages, layer->name, TRUE);
  g_autoptr (ImgError) error = NULL;
  const ImgCreateOptions options = { .size = layer->size,
                                     .version = layer->version,
                                     .cluster_size = layer->cluster_size,
                                     .extended_l2 = layer->extended_l2,
                                     .backing_name = layer->below,
                                     .backing_format = below >= 0 ? self->layers[below].format : NULL };

  img_driver_find (layer->format)->create (storage, &options, NULL, NULL, &error);
  assert_no_error (error);
  return pages;
}

/* ---- opening what the files themselves name ---- */

typedef struct
{
  const Case *spec;
  ImgStorage *storages[MAX_LAYERS];
  gboolean writable[MAX_LAYERS];
  char *problem; /* what a header says that it may not say */
} Chain;

static ImgImage *
open_layer (Chain *chain, int index, ImgError **error)
{
  const Layer *layer = &chain->spec->layers[index];
  const ImgImageOptions options = { .driver = img_driver_find (layer->format),
                                    .layout.writable = chain->writable[index],
                                    .layout.metadata_cache_size = 1 };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgImage) image = img_image_open (chain->storages[index], &options, NULL, error);
  GPtrArray *wanted;

  if (image == NULL)
    return NULL;
  wanted = img_image_get_wanted (image);
  if (wanted->len > 0)
    {
      const ImgWanted *named = g_ptr_array_index (wanted, 0);
      int below = find_layer (chain->spec, named->name);
      g_autoptr (ImgImage) backing = NULL;

      if (below < 0 || g_strcmp0 (named->format_name, chain->spec->layers[below].format) != 0)
        {
          chain->problem = g_strdup_printf ("the header names “%s” of the format “%s”", named->name, named->format_name);
          return NULL;
        }
      backing = open_layer (chain, below, error);
      if (backing == NULL || !img_image_set_backing (image, backing, error))
        return NULL;
    }
  return img_image_open_references (image, policy, NULL, error) ? g_steal_pointer (&image) : NULL;
}

static void
chain_clear (Chain *chain)
{
  for (guint i = 0; i < MAX_LAYERS; i++)
    img_storage_unref (chain->storages[i]);
  g_free (chain->problem);
}

static guint8 *
read_all (ImgImage *image, ImgError **error)
{
  gsize size = (gsize) img_image_get_size (image);
  guint8 *bytes = g_malloc (size);

  if (img_image_read (image, 0, bytes, size, NULL, error))
    return bytes;
  g_free (bytes);
  return NULL;
}

static char *
check_layer (const Layer *layer, ImgStorage *storage)
{
  const ImgDriver *driver = img_driver_find (layer->format);
  g_auto (ImgCheckResult) result;
  g_autoptr (ImgError) error = NULL;

  img_check_result_init (&result);
  if (driver->check == NULL || (driver->check (storage, &result, NULL, NULL, &error) && result.corruptions == 0))
    return NULL;
  return g_strdup_printf ("%s: %s", layer->name, error != NULL ? error->text : "damaged");
}

/* What the pages show must be @expected; their tables must be sound. NULL if so. */
static char *
check_pages (const Case *self, CrashPages *const *pages, const guint8 *expected)
{
  Chain chain = { .spec = self };
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgImage) image = NULL;
  g_autofree guint8 *bytes = NULL;
  char *problem = NULL;

  for (guint i = 0; i < MAX_LAYERS && self->layers[i].name != NULL; i++)
    {
      chain.storages[i] = crash_pages_storage_new (pages[i], self->layers[i].name, FALSE);
      if (problem == NULL)
        problem = check_layer (&self->layers[i], chain.storages[i]);
    }
  image = problem == NULL ? open_layer (&chain, 0, &error) : NULL;
  if (image != NULL)
    bytes = read_all (image, &error);
  if (problem == NULL && chain.problem != NULL)
    problem = g_steal_pointer (&chain.problem);
  else if (problem == NULL && bytes == NULL)
    problem = g_strdup (error->text);
  for (gsize i = 0; problem == NULL && i < self->layers[0].size; i++)
    if (bytes[i] != expected[i])
      problem = g_strdup_printf ("the disk is another one at %" G_GSIZE_FORMAT, i);
  g_clear_pointer (&image, img_image_unref);
  chain_clear (&chain);
  return problem;
}

/* ---- content ---- */

static void
write_pattern (ImgImage *image, guint layer, guint64 offset, gsize length, gboolean compressed)
{
  g_autofree guint8 *bytes = g_malloc (length);
  g_autoptr (ImgError) error = NULL;

  /* Every third piece is the same in all layers, so that there is something not to copy. */
  for (gsize at = 0; at < length; at += CRASH_SECTOR)
    crash_pattern_fill (CRASH_FIRST_VALUE + ((offset / (4 * KIB)) % 3 == 0 ? 0 : layer),
                        (offset + at) / CRASH_SECTOR, bytes + at);
  if (compressed)
    img_image_write_compressed (image, offset, bytes, length, NULL, &error);
  else
    img_image_write (image, offset, bytes, length, NULL, &error);
  assert_no_error (error);
}

static void
fill_piece (const Layer *layer, ImgImage *image, guint index, guint64 at, gsize n, guint64 dice)
{
  gboolean is_qcow2 = g_str_equal (layer->format, "qcow2");
  gboolean whole = is_qcow2 && at % layer->cluster_size == 0 && n == layer->cluster_size;

  switch (dice)
    {
    case 0:
    case 1:
      write_pattern (image, index, at, n, FALSE);
      break;
    case 2:
      write_pattern (image, index, at, MIN (n, CRASH_SECTOR), FALSE);
      break;
    case 3:
      g_assert_true (img_image_write_zeroes (image, at, n, IMG_ZERO_UNMAP, NULL, NULL));
      break;
    case 4:
      write_pattern (image, index, at, n, whole);
      break;
    default:
      break;
    }
}

static void
fill_layer (const Layer *layer, ImgImage *image, guint index, CrashRandom *random)
{
  guint64 step = layer->cluster_size != 0 ? layer->cluster_size : 4 * KIB;

  for (guint64 at = 0, n; at < layer->size; at += n)
    {
      n = MIN (step, layer->size - at);
      fill_piece (layer, image, index, at, (gsize) n, crash_random_below (random, 8));
    }
}

/* From the bottom, each layer with what is below it. */
static void
fill_all (const Case *self, CrashPages *const *pages, guint64 seed)
{
  CrashRandom random = crash_random (seed);

  for (int i = MAX_LAYERS - 1; i >= 0; i--)
    {
      Chain chain = { .spec = self };
      g_autoptr (ImgError) error = NULL;
      g_autoptr (ImgImage) image = NULL;

      if (self->layers[i].name == NULL)
        continue;
      chain.writable[i] = TRUE;
      for (guint k = 0; k < MAX_LAYERS && self->layers[k].name != NULL; k++)
        chain.storages[k] = crash_pages_storage_new (pages[k], self->layers[k].name, TRUE);
      image = open_layer (&chain, i, &error);
      assert_no_error (error);
      fill_layer (&self->layers[i], image, (guint) i, &random);
      g_assert_true (img_image_close (image, NULL));
      g_clear_pointer (&image, img_image_unref);
      chain_clear (&chain);
    }
}

/* ---- disks that log, and cancel ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base; /* borrowed */
  gint *countdown;
  ImgCancel *cancel;
} Tripwire;

static void
tripwire_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Tripwire *self = (Tripwire *) storage;

  if (*self->countdown > 0 && --*self->countdown == 0)
    img_cancel_trigger (self->cancel);
  img_storage_submit (self->base, ios, n_ios);
}

static gboolean
tripwire_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Tripwire *) storage)->base, size, error);
}

static void
tripwire_free (ImgStorage *storage)
{
  g_free (storage);
}

static ImgStorage *
tripwire_new (ImgStorage *base, gint *countdown, ImgCancel *cancel)
{
  static const ImgStorageClass klass = {
    .type_name = "tripwire",
    .submit = tripwire_submit,
    .get_size = tripwire_get_size,
    .free = tripwire_free,
  };
  Tripwire *self = g_new0 (Tripwire, 1);

  img_storage_init (&self->parent, &klass, "tripwire");
  self->parent.can_write = TRUE;
  self->base = base;
  self->countdown = countdown;
  self->cancel = cancel;
  return &self->parent;
}

typedef struct
{
  const Case *spec;
  CrashLog *log;
  ImgStorage *disks[MAX_LAYERS];
  guint8 *expected;
  guint n_threads;
  gint countdown; /* storage calls until it is cancelled; 0: never */
  ImgCancel *cancel;
} Bench;

static guint
n_layers (const Case *self)
{
  guint n = 0;

  while (n < MAX_LAYERS && self->layers[n].name != NULL)
    n++;
  return n;
}

static void
bench_init (Bench *bench, const Case *self, guint64 seed)
{
  CrashPages *pages[MAX_LAYERS] = { NULL };
  Chain chain = { .spec = self };
  g_autoptr (ImgImage) image = NULL;

  *bench = (Bench){ .spec = self, .log = crash_log_new (seed), .n_threads = 1, .cancel = img_cancel_new () };
  for (guint i = 0; i < n_layers (self); i++)
    pages[i] = make_layer (self, &self->layers[i]);
  fill_all (self, pages, seed);
  for (guint i = 0; i < n_layers (self); i++)
    {
      bench->disks[i] = crash_log_add_disk (bench->log, self->layers[i].name, pages[i]);
      chain.storages[i] = img_storage_ref (bench->disks[i]);
    }
  image = open_layer (&chain, 0, NULL);
  bench->expected = read_all (image, NULL);
  g_clear_pointer (&image, img_image_unref);
  chain_clear (&chain);
  crash_log_start (bench->log);
}

static void
bench_clear (Bench *bench)
{
  for (guint i = 0; i < n_layers (bench->spec); i++)
    img_storage_unref (bench->disks[i]);
  crash_log_free (bench->log);
  img_cancel_unref (bench->cancel);
  g_free (bench->expected);
}

static gboolean
commit (Bench *bench, ImgImage *image, ImgError **error)
{
  const ImgCommitOptions options = { .keep = bench->spec->keep, .n_threads = bench->n_threads };
  ImgImage *base = NULL;
  ImgProgress progress = { 0 };
  gboolean success;

  if (bench->spec->target != NULL)
    for (base = image; img_image_get_backing (base) != NULL;)
      base = img_image_get_backing (base);
  success = img_commit (image, base, &options, &progress, bench->cancel, error);
  g_assert_true (!success || progress.bytes_done == progress.bytes_total);
  /* The next one's tables are closed by whoever opened it. */
  return img_image_close (base != NULL ? base : img_image_get_backing (image), NULL) && success;
}

static gboolean
rebase (Bench *bench, Chain *chain, ImgImage *image, ImgError **error)
{
  const Case *self = bench->spec;
  int target = find_layer (self, self->target);
  const ImgRebaseOptions options = { .backing_name = self->target,
                                     .backing_format = target >= 0 ? self->layers[target].format : NULL,
                                     .compress = self->compress,
                                     .n_threads = bench->n_threads };
  ImgProgress progress = { 0 };
  g_autoptr (ImgImage) backing = NULL;
  gboolean success;

  if (target >= 0)
    {
      backing = open_layer (chain, target, error);
      if (backing == NULL)
        return FALSE;
    }
  success = img_rebase (image, backing, &options, &progress, bench->cancel, error);
  g_assert_true (!success || progress.bytes_done == progress.bytes_total);
  return success;
}

static gboolean
bench_run (Bench *bench, ImgError **error)
{
  Chain chain = { .spec = bench->spec, .writable[0] = TRUE };
  g_autoptr (ImgImage) image = NULL;
  gboolean success;

  for (guint i = 0; i < n_layers (bench->spec); i++)
    chain.storages[i] = tripwire_new (bench->disks[i], &bench->countdown, bench->cancel);
  if (!bench->spec->is_rebase)
    chain.writable[bench->spec->target != NULL ? find_layer (bench->spec, bench->spec->target) : 1] = TRUE;
  image = open_layer (&chain, 0, error);
  success = image != NULL &&
            (bench->spec->is_rebase ? rebase (bench, &chain, image, error) : commit (bench, image, error));
  if (image != NULL && !img_image_close (image, success ? error : NULL))
    success = FALSE;
  g_clear_pointer (&image, img_image_unref);
  chain_clear (&chain);
  return success;
}

static char *
check_disks (Bench *bench)
{
  CrashPages *layers[MAX_LAYERS] = { NULL };
  char *problem;

  for (guint i = 0; i < n_layers (bench->spec); i++)
    layers[i] = crash_pages_new (crash_log_get_content (bench->log, i));
  problem = check_pages (bench->spec, layers, bench->expected);
  for (guint i = 0; i < n_layers (bench->spec); i++)
    crash_pages_free (layers[i]);
  return problem;
}

/* ---- what the job was for ---- */

static void
assert_emptied (ImgImage *image)
{
  guint64 size = img_image_get_size (image);
  ImgBlock block;

  for (guint64 at = 0; at < size; at += block.length)
    {
      g_assert_true (img_image_map (image, at, size - at, IMG_BLOCK_MAP_TOP_ONLY, &block, NULL, NULL));
      g_assert_cmpint (block.kind, ==, IMG_BLOCK_HOLE);
    }
}

static void
assert_done (Bench *bench)
{
  const Case *self = bench->spec;
  Chain chain = { .spec = self };
  g_autofree char *problem = check_disks (bench);
  g_autoptr (ImgImage) image = NULL;
  GPtrArray *wanted;

  g_assert_cmpstr (problem, ==, NULL);
  for (guint i = 0; i < n_layers (self); i++)
    chain.storages[i] = img_storage_ref (bench->disks[i]);
  image = open_layer (&chain, 0, NULL);
  wanted = img_image_get_wanted (image);
  if (self->is_rebase && self->target == NULL)
    g_assert_cmpuint (wanted->len, ==, 0);
  else if (self->is_rebase)
    g_assert_cmpstr (((ImgWanted *) wanted->pdata[0])->name, ==, self->target);
  else if (!self->keep && self->target == NULL)
    assert_emptied (image);
  if (!self->is_rebase)
    {
      int base = self->target != NULL ? find_layer (self, self->target) : 1;
      g_autoptr (ImgImage) alone = open_layer (&chain, base, NULL);
      g_autofree guint8 *bytes = read_all (alone, NULL);

      g_assert_cmpuint (img_image_get_size (alone), ==, MAX (self->layers[0].size, self->layers[base].size));
      g_assert_cmpmem (bytes, self->layers[0].size, bench->expected, self->layers[0].size);
    }
  g_clear_pointer (&image, img_image_unref);
  chain_clear (&chain);
}

/* ---- power cuts ---- */

typedef struct
{
  Bench *bench;
  char *problem;
} Judge;

static gboolean
judge_state (const CrashState *state, gpointer data)
{
  Judge *judge = data;

  judge->problem = check_pages (judge->bench->spec, state->disks, judge->bench->expected);
  return judge->problem == NULL;
}

/* What is wrong with the first state that is. */
static char *
run_and_judge (Bench *bench, guint64 seed, guint64 *n_states)
{
  const CrashStatesOptions options = { .seed = seed, .n_random = 20, .max_states = MAX_STATES };
  Judge judge = { bench };
  g_autoptr (ImgError) error = NULL;

  bench_run (bench, &error);
  assert_no_error (error);
  assert_done (bench);
  crash_log_stop (bench->log);
  *n_states += crash_states_run (bench->log, &options, judge_state, &judge);
  return judge.problem;
}

static void
test_crash (gconstpointer data)
{
  const Case *self = data;
  guint64 n_states = 0;

  for (guint64 seed = 1; seed <= 4; seed++)
    {
      g_autofree char *problem = NULL;
      Bench bench;

      bench_init (&bench, self, seed);
      bench.n_threads = seed == 4 ? 4 : 1;
      problem = run_and_judge (&bench, seed, &n_states);
      if (problem != NULL)
        g_error ("%s, seed %d: after a power cut: %s", self->path, (int) seed, problem);
      bench_clear (&bench);
    }
  g_test_message ("%s: %d states", self->path, (int) n_states);
  g_assert_cmpuint (n_states, >, 50);
}

/* ---- the order is what keeps it right ---- */

static void
assert_noticed (const char *path, ImgMutant mutant)
{
  gboolean noticed = FALSE;
  guint64 n_states = 0;

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    for (guint64 seed = 1; seed <= 4 && !noticed && g_str_equal (cases[i].path, path); seed++)
      {
        g_autofree char *problem = NULL;
        Bench bench;

        bench_init (&bench, &cases[i], seed);
        img_mutant_set (mutant);
        problem = run_and_judge (&bench, seed, &n_states);
        g_assert_cmpuint (img_mutant_get_count (), >, 0);
        img_mutant_set (IMG_MUTANT_NONE);
        bench_clear (&bench);
        noticed = problem != NULL;
        if (noticed)
          g_test_message ("%s in %s: %s", img_mutant_get_name (mutant), path, problem);
      }
  g_assert_true (noticed);
}

static void
test_mutants (void)
{
  assert_noticed ("commit", IMG_MUTANT_EMPTY_BEFORE_BASE);
  assert_noticed ("commit-raw", IMG_MUTANT_EMPTY_BEFORE_BASE);
  assert_noticed ("rebase", IMG_MUTANT_NAME_BEFORE_DATA);
  assert_noticed ("flatten", IMG_MUTANT_NAME_BEFORE_DATA);
}

/* ---- faults ---- */

/* FALSE: nothing struck. Afterwards the disk is what it was, and the job can be done. */
static gboolean
run_fault (const Case *self, const CrashFault *fault)
{
  g_autofree char *problem = NULL;
  g_autoptr (ImgError) error = NULL;
  gboolean struck, success;
  Bench bench;

  bench_init (&bench, self, 1);
  crash_log_set_fault (bench.log, fault);
  success = bench_run (&bench, NULL);
  struck = crash_log_has_failed (bench.log);
  crash_log_set_fault (bench.log, NULL);
  problem = check_disks (&bench);
  if (problem != NULL)
    g_error ("%s: call %u fails, effect %d, %s: %s", self->path, fault->nth, fault->effect,
             fault->persists ? "for good" : "once", problem);
  if (!success)
    {
      bench_run (&bench, &error);
      assert_no_error (error);
    }
  assert_done (&bench);
  bench_clear (&bench);
  return struck;
}

static void
test_faults (gconstpointer data)
{
  const Case *self = data;
  guint n = 0;

  for (guint persists = 0; persists < 2; persists++)
    for (guint effect = CRASH_FAULT_BEFORE; effect <= CRASH_FAULT_AFTER; effect++)
      {
        CrashFault fault = { 1, EIO, persists, effect, CRASH_ALL_OPS };

        for (; run_fault (self, &fault); fault.nth++)
          g_assert_cmpuint (fault.nth, <, MAX_CALLS);
        n += fault.nth - 1;
      }
  g_test_message ("%s: %u faults met", self->path, n);
  g_assert_cmpuint (n, >, 50);
}

/* ---- cancelled ---- */

static void
test_cancel (gconstpointer data)
{
  const Case *self = data;
  gboolean is_over = FALSE;
  gint nth = 1;

  for (; !is_over; nth++)
    {
      g_autofree char *problem = NULL;
      g_autoptr (ImgError) error = NULL;
      gboolean success;
      Bench bench;

      g_assert_cmpint (nth, <, MAX_CALLS);
      bench_init (&bench, self, 1);
      bench.countdown = nth;
      success = bench_run (&bench, &error);
      g_assert_true (success || img_error_matches (error, IMG_CODE_CANCELLED));
      is_over = bench.countdown > 0;
      problem = check_disks (&bench);
      g_assert_cmpstr (problem, ==, NULL);
      img_cancel_unref (bench.cancel);
      bench.cancel = img_cancel_new ();
      bench.countdown = 0;
      if (!success)
        g_assert_true (bench_run (&bench, NULL));
      assert_done (&bench);
      bench_clear (&bench);
    }
  g_test_message ("%s: cancelled at %d calls", self->path, nth - 2);
  g_assert_cmpint (nth, >, 20);
}

/* ---- names in headers of all shapes ---- */

#define UNKNOWN_EXTENSION 0x12345678u

typedef struct
{
  guint version;
  guint64 cluster_size;
  gsize unknown;      /* bytes of an extension that nobody knows; 0: none */
  const char *name, *format;
  const char *new_name, *new_format;
  gboolean is_refused;
} Naming;

#define LONG_NAME "a-folder-with-a-rather-long-name/and-one-more-in-it/which-makes-a-path-that-does-not-fit-beside-others/" \
                  "a-folder-with-a-rather-long-name/and-one-more-in-it/which-makes-a-path-that-does-not-fit-beside-others"

static const Naming namings[] = {
  { 3, 4096, 0, NULL, NULL, "base", "raw" },
  { 3, 4096, 0, "base", "raw", NULL, NULL },
  { 3, 4096, 0, "base", "raw", "other-base", "qcow2" },
  { 3, 4096, 0, "other-base", "qcow2", "base", "raw" },
  { 3, 4096, 0, "base", NULL, "other", "raw" },
  { 3, 4096, 0, "base", "raw", "other", "parallels" },
  { 3, 4096, 0, "base", "parallels", "other", "raw" },
  { 3, 4096, 0, "base", "raw", LONG_NAME LONG_NAME, "qcow2" },
  { 3, 4096, 0, LONG_NAME LONG_NAME, "raw", LONG_NAME, "qcow2" },
  { 3, 4096, 392, NULL, NULL, "base", "raw" },
  { 3, 4096, 392, "base", "raw", LONG_NAME, "qcow2" },
  { 3, 4096, 392, "base", "raw", NULL, NULL },
  { 3, 4096, 1000, NULL, NULL, "base", "raw" },
  { 3, 4096, 1000, "base", "raw", "other", "qcow2" },
  { 3, 4096, 1000, "base", "raw", NULL, NULL },
  { 3, 4096, 1000, "base", "raw", "other", "parallels", TRUE },
  { 3, 4096, 1000, "base", NULL, "other", "raw", TRUE },
  { 3, 512, 0, NULL, NULL, "base", "raw" },
  { 3, 512, 0, "base", "raw", LONG_NAME, "qcow2" },
  { 3, 512, 0, LONG_NAME, "raw", "base", "qcow2" },
  { 3, 512, 0, LONG_NAME, "raw", LONG_NAME LONG_NAME, "qcow2", TRUE },
  { 3, 512, 300, "base", "raw", LONG_NAME, "qcow2", TRUE },
  { 2, 4096, 0, NULL, NULL, "base", "raw" },
  { 2, 4096, 0, "base", "raw", "other", "qcow2" },
  { 2, 4096, 600, "base", "raw", NULL, NULL },
  { 2, 512, 0, "base", "raw", "other", "qcow2" },
};

static void
put_extension (GByteArray *array, guint32 type, const char *text, gsize length)
{
  const guint32 words[] = { GUINT32_TO_BE (type), GUINT32_TO_BE ((guint32) length) };
  static const guint8 padding[8];

  g_byte_array_append (array, (const guint8 *) words, sizeof words);
  g_byte_array_append (array, (const guint8 *) text, (guint) length);
  g_byte_array_append (array, padding, (guint) ((8 - length % 8) % 8));
}

static CrashPages *
make_named (const Naming *naming)
{
  static const Case none = { "naming", FALSE, { { NULL } } };
  const Layer layer = { "top", "qcow2", NULL, 64 * KIB, naming->cluster_size, naming->version, FALSE };
  guint start = naming->version < 3 ? 72 : 112;
  g_autoptr (GByteArray) area = g_byte_array_new ();
  g_autofree char *unknown = g_malloc (naming->unknown + 1);
  CrashPages *pages = make_layer (&none, &layer);
  guint64 offset;
  guint32 length;

  memset (unknown, 'u', naming->unknown);
  if (naming->format != NULL)
    put_extension (area, 0xe2792aca, naming->format, strlen (naming->format));
  if (naming->unknown > 0)
    put_extension (area, UNKNOWN_EXTENSION, unknown, naming->unknown);
  put_extension (area, 0, "", 0);
  crash_pages_zero (pages, start, naming->cluster_size - start);
  crash_pages_write (pages, start, area->data, area->len);
  if (naming->name == NULL)
    return pages;
  offset = GUINT64_TO_BE ((guint64) start + area->len);
  length = GUINT32_TO_BE ((guint32) strlen (naming->name));
  crash_pages_write (pages, start + area->len, naming->name, strlen (naming->name));
  crash_pages_write (pages, 8, &offset, sizeof offset);
  crash_pages_write (pages, 16, &length, sizeof length);
  return pages;
}

/* What the library reads there, as one string; and that the unknown extension is what it was. */
static char *
describe_naming (const Naming *naming, CrashPages *pages)
{
  g_autoptr (ImgStorage) storage = crash_pages_storage_new (pages, "top", FALSE);
  const ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgImage) image = img_image_open (storage, &options, NULL, &error);
  g_autofree guint8 *head = g_malloc (naming->cluster_size);
  gsize found = 0;
  GPtrArray *wanted;

  if (image == NULL)
    return g_strdup (error->text);
  crash_pages_read (pages, 0, head, naming->cluster_size);
  for (gsize i = 0; i < naming->cluster_size; i++)
    found += head[i] == 'u';
  if (found < naming->unknown)
    return g_strdup ("the unknown extension is gone");
  wanted = img_image_get_wanted (image);
  if (wanted->len == 0)
    return g_strdup ("none");
  return g_strdup_printf ("%s of %s", ((ImgWanted *) wanted->pdata[0])->name,
                          ((ImgWanted *) wanted->pdata[0])->format_name);
}

typedef struct
{
  const Naming *naming;
  const char *before;
  const char *after;
  guint n_before;
  guint n_after;
} NamingJudge;

static gboolean
judge_naming (const CrashState *state, gpointer data)
{
  NamingJudge *judge = data;
  g_autofree char *now = describe_naming (judge->naming, state->disks[0]);
  gboolean is_before = g_str_equal (now, judge->before);

  if (!is_before && !g_str_equal (now, judge->after))
    g_error ("Neither “%s” nor “%s” but “%s”", judge->before, judge->after, now);
  judge->n_before += is_before;
  judge->n_after += !is_before;
  return TRUE;
}

static gboolean
rename_backing (ImgStorage *storage, const Naming *naming, ImgError **error)
{
  const ImgImageOptions options = { .driver = img_driver_find ("qcow2"), .layout.writable = TRUE };
  const ImgRebaseOptions rebase_options = { .backing_name = naming->new_name,
                                            .backing_format = naming->new_format,
                                            .unsafe = TRUE };
  g_autoptr (ImgImage) image = img_image_open (storage, &options, NULL, error);
  gboolean success = image != NULL && img_rebase (image, NULL, &rebase_options, NULL, NULL, error);

  return image != NULL && img_image_close (image, success ? error : NULL) && success;
}

static void
test_naming (gconstpointer data)
{
  const Naming *naming = data;
  const CrashStatesOptions options = { .seed = 1, .n_random = 200 };
  g_autoptr (CrashLog) log = crash_log_new (1);
  g_autoptr (ImgStorage) disk = crash_log_add_disk (log, "top", make_named (naming));
  CrashPages *content = crash_log_get_content (log, 0);
  g_autofree char *before = describe_naming (naming, content);
  g_autofree char *after = NULL;
  g_autofree char *expected =
    naming->new_name != NULL ? g_strdup_printf ("%s of %s", naming->new_name, naming->new_format) : g_strdup ("none");
  g_autoptr (ImgError) error = NULL;
  NamingJudge judge = { naming, before, expected, 0, 0 };

  crash_log_start (log);
  if (naming->is_refused)
    {
      g_assert_false (rename_backing (disk, naming, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_LIMIT_EXCEEDED));
    }
  else
    {
      rename_backing (disk, naming, &error);
      assert_no_error (error);
    }
  after = describe_naming (naming, content);
  g_assert_cmpstr (after, ==, naming->is_refused ? before : expected);
  crash_log_stop (log);
  crash_states_run (log, &options, judge_naming, &judge);
  g_assert_true (naming->is_refused || (judge.n_before > 0 && judge.n_after > 0));
}

/* ---- what is not allowed ---- */

static void
test_refusals (void)
{
  static const ImgCommitOptions commit_options;
  const Case *self = &cases[0];
  Chain chain = { .spec = self };
  ImgRebaseOptions options = { .backing_name = "base" };
  g_autoptr (ImgImage) image = NULL;
  ImgError *error = NULL;
  Bench bench;

  bench_init (&bench, self, 1);
  for (guint i = 0; i < n_layers (self); i++)
    chain.storages[i] = img_storage_ref (bench.disks[i]);
  image = open_layer (&chain, 0, NULL);

  g_assert_false (img_commit (image, NULL, &commit_options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_READ_ONLY));
  img_error_clear (&error);
  g_assert_false (img_commit (image, image, &commit_options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_FAILED));
  img_error_clear (&error);
  g_assert_false (img_commit (img_image_get_backing (image), NULL, &commit_options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_FAILED));
  img_error_clear (&error);

  g_assert_false (img_rebase (image, NULL, &options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_INVALID_OPTION)); /* no format */
  img_error_clear (&error);
  options.backing_format = "qcow2";
  g_assert_false (img_rebase (image, NULL, &options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_INVALID_OPTION)); /* no image */
  img_error_clear (&error);
  g_assert_false (img_rebase (image, img_image_get_backing (image), &options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_READ_ONLY));
  img_error_clear (&error);
  options.unsafe = TRUE;
  g_assert_false (img_rebase (image, NULL, &options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_READ_ONLY));
  img_error_clear (&error);
  g_clear_pointer (&image, img_image_unref);

  chain.writable[0] = TRUE;
  image = open_layer (&chain, 0, NULL);
  options.unsafe = FALSE;
  g_assert_false (img_rebase (image, image, &options, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_REFERENCE_LOOP));
  img_error_clear (&error);
  g_clear_pointer (&image, img_image_unref);
  chain_clear (&chain);
  bench_clear (&bench);
}

int
main (int argc, char **argv)
{
  static const char *const thorough[] = { "commit", "commit-grow", "commit-raw", "commit-deep", "rebase", "flatten" };

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/crash/jobs/refusals", test_refusals);
  for (guint i = 0; i < G_N_ELEMENTS (namings); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/jobs/naming/%u", i);

      g_test_add_data_func (path, &namings[i], test_naming);
    }
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/jobs/power/%s", cases[i].path);
      g_autofree char *faults = g_strdup_printf ("/crash/jobs/faults/%s", cases[i].path);
      g_autofree char *cancel = g_strdup_printf ("/crash/jobs/cancel/%s", cases[i].path);

      g_test_add_data_func (path, &cases[i], test_crash);
      for (guint k = 0; k < G_N_ELEMENTS (thorough); k++)
        if (g_str_equal (thorough[k], cases[i].path))
          {
            g_test_add_data_func (faults, &cases[i], test_faults);
            g_test_add_data_func (cancel, &cases[i], test_cancel);
          }
    }
  g_test_add_func ("/crash/jobs/mutants", test_mutants);
  return g_test_run ();
}
