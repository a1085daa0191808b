/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Converting into a pipe: what comes out, on how many threads and after which failure. That QEMU agrees with what comes
 * out is for the tests of the command. */

#include "config.h"

#include "img-alloc.h"
#include "img-convert.h"
#include "img-simple-storages.h"
#include "test-storages.h"

#define SIZE (5 * IMG_MIB + 3584)

/* ---- a sink ---- */

typedef struct
{
  ImgByteSink core;
  GByteArray *bytes;
  guint n_calls;
  guint fail_at; /* the write that fails; 0: none */
  guint n_aborts;
  gboolean has_failed;
  gboolean is_flushed;
  ImgStorage *spoil; /* nullable: is written to when the first byte comes */
} Sink;

static gboolean
sink_write (gpointer data, gconstpointer bytes, gsize length, ImgError **error)
{
  Sink *sink = data;

  g_assert_false (sink->has_failed);
  g_assert_cmpuint (length, >, 0);
  if (sink->spoil != NULL && sink->n_calls == 0)
    {
      g_autofree guint8 *noise = g_malloc (256 * 1024);

      for (gsize i = 0; i < 256 * 1024; i++)
        noise[i] = (guint8) g_random_int ();
      g_assert_true (img_storage_write (sink->spoil, 0, noise, 256 * 1024, NULL));
    }
  if (++sink->n_calls != sink->fail_at)
    {
      g_byte_array_append (sink->bytes, bytes, (guint) length);
      return TRUE;
    }
  sink->has_failed = TRUE;
  img_error_set_errno (error, EPIPE, "nobody reads");
  return FALSE;
}

static gboolean
sink_flush (gpointer data, ImgError **error)
{
  Sink *sink = data;

  g_assert_false (sink->has_failed);
  sink->is_flushed = TRUE;
  return TRUE;
}

static void
sink_abort (gpointer data)
{
  g_atomic_int_inc (&((Sink *) data)->n_aborts);
}

static void
sink_init (Sink *sink)
{
  *sink = (Sink) { .core = { sink_write, sink_flush, sink_abort, sink }, .bytes = g_byte_array_new () };
}

static void
sink_clear (Sink *sink)
{
  g_byte_array_unref (sink->bytes);
}

/* ---- a disk ---- */

/* Noise, text and zeroes; what repeats too, so that clusters are packed. */
static GBytes *
make_content (void)
{
  guint8 *content = g_malloc0 (SIZE);
  g_autoptr (GRand) rand = g_rand_new_with_seed (7);

  for (guint64 at = 0; at < SIZE; at += 4096)
    for (guint64 i = at; i < MIN (at + 4096, SIZE); i++)
      content[i] = at / 65536 % 5 == 0 ? (guint8) g_rand_int (rand) : at / 65536 % 5 < 3 ? (guint8) ("beer\n"[i % 5] + at / 4096 % 3) : 0;
  memset (content + 2 * IMG_MIB, 0, 2 * IMG_MIB);
  content[SIZE - 1] = 1;
  return g_bytes_new_take (content, SIZE);
}

static ImgImage *
open_image (ImgStorage *storage, const char *format)
{
  const ImgImageOptions options = { .driver = img_driver_find (format) };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgError) error = NULL;
  ImgImage *image = img_image_open (storage, &options, NULL, &error);

  g_assert_null (error);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

typedef struct
{
  const char *name;
  const char *format;
  guint version;
  guint64 cluster_size;
  guint refcount_bits;
  gboolean compress;
  gboolean extended_l2;
  gboolean allocate_all;
  gsize zero_grain;
} Kind;

static const Kind kinds[] = {
  { "raw", "raw", .zero_grain = 4096 },
  { "plain", "qcow2", .zero_grain = 4096 },
  { "no-look", "qcow2", .allocate_all = TRUE },
  { "small-clusters", "qcow2", .cluster_size = 512, .zero_grain = 4096 },
  { "large-clusters", "qcow2", .cluster_size = 2 * IMG_MIB, .zero_grain = 4096 },
  { "version-2", "qcow2", .version = 2, .zero_grain = 4096 },
  { "extended-l2", "qcow2", .extended_l2 = TRUE, .cluster_size = 16384, .zero_grain = 4096 },
  { "compressed", "qcow2", .compress = TRUE, .zero_grain = 4096 },
  { "compressed-small-clusters", "qcow2", .compress = TRUE, .cluster_size = 512, .zero_grain = 4096 },
  { "compressed-large-clusters", "qcow2", .compress = TRUE, .cluster_size = 2 * IMG_MIB, .zero_grain = 4096 },
  { "compressed-extended-l2", "qcow2", .compress = TRUE, .extended_l2 = TRUE, .cluster_size = 16384, .zero_grain = 4096 },
  { "compressed-all", "qcow2", .compress = TRUE, .allocate_all = TRUE, .cluster_size = 4096 },
  { "refcounts-of-1-bit", "qcow2", .compress = TRUE, .refcount_bits = 1, .cluster_size = 4096, .zero_grain = 4096 },
  { "refcounts-of-2-bits", "qcow2", .compress = TRUE, .refcount_bits = 2, .cluster_size = 4096, .zero_grain = 4096 },
  { "refcounts-of-64-bits", "qcow2", .compress = TRUE, .refcount_bits = 64, .cluster_size = 1024, .zero_grain = 4096 },
};

static gboolean
convert (const Kind *kind, ImgImage *image, Sink *sink, guint n_threads, ImgError **error)
{
  ImgCreation creation = {
    .driver = img_driver_find (kind->format),
    .options = { .version = kind->version,
                 .cluster_size = kind->cluster_size,
                 .refcount_bits = kind->refcount_bits,
                 .extended_l2 = kind->extended_l2 },
  };
  const ImgConvertOptions options = {
    .sources = &image,
    .n_sources = 1,
    .creation = &creation,
    .sink = &sink->core,
    .zero_grain = kind->zero_grain,
    .allocate_all = kind->allocate_all,
    .compress = kind->compress,
    .n_threads = n_threads,
  };
  ImgProgress progress = { 0 };
  gboolean success = img_convert (&options, &progress, NULL, error);

  if (success)
    {
      g_assert_true (sink->is_flushed);
      g_assert_cmpuint (progress.bytes_done, ==, progress.bytes_total);
      g_assert_cmpuint (progress.bytes_done, >=, kind->zero_grain > 0 ? IMG_MIB : SIZE);
    }
  return success;
}

/* ---- what comes out ---- */

static void
assert_sound (ImgStorage *storage)
{
  g_auto (ImgCheckResult) result;

  img_check_result_init (&result);
  g_assert_true (img_driver_find ("qcow2")->check (storage, &result, NULL, NULL, NULL));
  for (guint i = 0; i < result.messages->len; i++)
    g_test_message ("%s", ((ImgCheckMessage *) result.messages->pdata[i])->text);
  g_assert_cmpuint (result.check_errors + result.corruptions + result.leaks, ==, 0);
}

static void
assert_content (const Kind *kind, Sink *sink, GBytes *content)
{
  g_autoptr (GBytes) bytes = g_bytes_new (sink->bytes->data, sink->bytes->len);
  g_autoptr (ImgStorage) storage = img_memory_storage_new (bytes);
  g_autoptr (ImgImage) image = open_image (storage, kind->format);
  g_autofree guint8 *found = g_malloc (SIZE);

  g_assert_cmpuint (img_image_get_size (image), ==, SIZE);
  g_assert_true (img_image_read (image, 0, found, SIZE, NULL, NULL));
  g_assert_true (memcmp (found, g_bytes_get_data (content, NULL), SIZE) == 0);
  if (g_str_equal (kind->format, "qcow2"))
    assert_sound (storage);
}

static void
test_content (gconstpointer data)
{
  const Kind *kind = data;
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImgStorage) storage = img_memory_storage_new (content);
  g_autoptr (ImgImage) image = open_image (storage, "raw");
  g_autoptr (GByteArray) first = NULL;

  for (guint n_threads = 1; n_threads <= 4; n_threads++)
    {
      Sink sink;

      sink_init (&sink);
      g_assert_true (convert (kind, image, &sink, n_threads, NULL));
      if (first == NULL)
        {
          assert_content (kind, &sink, content);
          first = g_byte_array_ref (sink.bytes);
        }
      g_assert_cmpmem (first->data, first->len, sink.bytes->data, sink.bytes->len);
      g_assert_cmpuint (sink.n_aborts, ==, 0);
      sink_clear (&sink);
    }
}

/* ---- what fails ---- */

/* Every write in turn, or every so many of a lot: no other one follows, and what was written before is what would have been. */
static void
test_sink_fails (gconstpointer data)
{
  const Kind *kind = data;
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImgStorage) storage = img_memory_storage_new (content);
  g_autoptr (ImgImage) image = open_image (storage, "raw");
  g_autoptr (GByteArray) whole = NULL;
  guint n_calls;
  Sink sink;

  sink_init (&sink);
  g_assert_true (convert (kind, image, &sink, 2, NULL));
  whole = g_byte_array_ref (sink.bytes);
  n_calls = sink.n_calls;
  sink_clear (&sink);
  for (guint nth = 1; nth <= n_calls; nth += 1 + n_calls / 20)
    {
      g_autoptr (ImgError) error = NULL;

      sink_init (&sink);
      sink.fail_at = nth;
      g_assert_false (convert (kind, image, &sink, 1 + nth % 3, &error));
      g_assert_cmpint (error->system_errno, ==, EPIPE);
      g_assert_cmpuint (sink.n_calls, ==, nth);
      g_assert_false (sink.is_flushed);
      g_assert_cmpuint (sink.bytes->len, <, whole->len);
      g_assert_true (nth == 1 || memcmp (sink.bytes->data, whole->data, sink.bytes->len) == 0);
      sink_clear (&sink);
    }
  g_test_message ("%u writes", n_calls);
}

/* Every read in turn, of both passes: the writer is woken, and the error is that of the read. */
static void
test_source_fails (gconstpointer data)
{
  const Kind *kind = data;
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImgStorage) storage = img_memory_storage_new (content);
  g_autoptr (ImgStorage) failing = test_failing_storage_new (storage);
  g_autoptr (ImgImage) image = open_image (failing, "raw");
  guint nth;

  for (nth = 1;; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      gboolean success;
      Sink sink;

      sink_init (&sink);
      test_failing_storage_arm (failing, nth, TRUE);
      success = convert (kind, image, &sink, 1 + nth % 3, &error);
      test_failing_storage_arm (failing, 0, FALSE);
      if (success)
        assert_content (kind, &sink, content);
      else
        {
          g_assert_cmpint (error->system_errno, ==, EIO);
          g_assert_cmpuint (sink.n_aborts, >, 0);
          g_assert_false (sink.is_flushed);
        }
      sink_clear (&sink);
      if (success)
        break;
    }
  g_assert_cmpuint (nth, >, 4);
}

static void
test_no_memory (gconstpointer data)
{
  const Kind *kind = data;
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImgStorage) storage = img_memory_storage_new (content);
  g_autoptr (ImgImage) image = open_image (storage, "raw");

  for (guint nth = 1;; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      gboolean success;
      Sink sink;

      sink_init (&sink);
      img_alloc_set_fault (nth, FALSE);
      success = convert (kind, image, &sink, 1, &error);
      if (!img_alloc_clear_fault ())
        {
          g_assert_true (success);
          sink_clear (&sink);
          break;
        }
      g_assert_false (success);
      g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
      sink_clear (&sink);
    }
}

/* Compressed clusters have their places before the disk is read again. */
static void
test_changing_source (void)
{
  const Kind *plain = &kinds[1], *compressed = &kinds[7];
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (4 * IMG_MIB);
  g_autofree guint8 *ones = g_malloc (4 * IMG_MIB);
  g_autoptr (ImgError) error = NULL;
  ImgImage *image;
  Sink sink;

  memset (ones, 1, 4 * IMG_MIB);
  g_assert_true (img_storage_write (storage, 0, ones, 4 * IMG_MIB, NULL));
  image = open_image (storage, "raw");
  sink_init (&sink);
  sink.spoil = storage;
  g_assert_false (convert (compressed, image, &sink, 2, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CORRUPT));
  sink_clear (&sink);

  sink_init (&sink);
  sink.spoil = storage;
  g_assert_true (convert (plain, image, &sink, 2, NULL));
  sink_clear (&sink);
  img_image_unref (image);
}

/* A disk of 1 TiB with a little data: neither memory nor bytes for what is not there. */
static void
test_large_disk (void)
{
  guint64 size = (guint64) 1 << 40, at = size - 3 * IMG_GIB;
  g_autoptr (ImgStorage) data = test_pattern_storage_new (IMG_MIB, 3);
  const ImgExtent extents[] = {
    { IMG_EXTENT_HOLE, FALSE, 0, at },
    { IMG_EXTENT_DATA, TRUE, at, IMG_MIB, data, 0 },
    { IMG_EXTENT_HOLE, FALSE, at + IMG_MIB, size - at - IMG_MIB },
  };
  g_autoptr (ImgImage) image = test_scripted_image_new (extents, G_N_ELEMENTS (extents));
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  for (guint compress = 0; compress < 2; compress++)
    {
      const Kind kind = { "", "qcow2", .compress = compress != 0, .zero_grain = 4096 };
      Sink sink;

      sink_init (&sink);
      g_assert_true (convert (&kind, image, &sink, 2, NULL));
      g_assert_cmpuint (sink.bytes->len, <, 2 * IMG_MIB);
      sink_clear (&sink);
    }
}

/* ---- what is refused ---- */

static void
assert_refused (const ImgConvertOptions *options, ImgCode code)
{
  g_autoptr (ImgError) error = NULL;

  g_assert_false (img_convert (options, NULL, NULL, &error));
  g_assert_cmpint (error->code, ==, code);
}

static void
test_refused (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImgStorage) storage = img_memory_storage_new (content);
  g_autoptr (ImgImage) image = open_image (storage, "raw");
  ImgCreation creation = { .driver = img_driver_find ("qcow2") };
  ImgConvertOptions options = { .sources = &image, .n_sources = 1, .creation = &creation };
  Sink sink;

  sink_init (&sink);
  options.sink = &sink.core;
  options.verify = TRUE;
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  options.verify = FALSE;
  creation.options.preallocate = IMG_PREALLOCATE_METADATA;
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  creation.options.preallocate = IMG_PREALLOCATE_OFF;
  creation.data_file_name = "data";
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  creation.data_file_name = NULL;
  creation.backing_name = "base";
  assert_refused (&options, IMG_CODE_INVALID_OPTION); /* without its format */
  creation.backing_name = NULL;
  creation.options.cluster_size = 1000;
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  creation.options.cluster_size = 0;
  creation.has_size = TRUE;
  creation.options.size = SIZE - 512;
  assert_refused (&options, IMG_CODE_OUT_OF_RANGE);
  creation.options.size = G_MAXUINT64;
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  creation.has_size = FALSE;
  options.compress = TRUE;
  options.level = 1000;
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  options.level = 0;
  creation.driver = img_driver_find ("raw");
  assert_refused (&options, IMG_CODE_UNSUPPORTED);
  options.compress = FALSE;
  creation.backing_name = "base";
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  creation.backing_name = NULL;
  creation.options.cluster_size = 65536;
  assert_refused (&options, IMG_CODE_INVALID_OPTION);
  g_assert_cmpuint (sink.n_calls, ==, 0);
  sink_clear (&sink);
}

static void
add (const char *name, const Kind *kind, GTestDataFunc test)
{
  g_autofree char *path = g_strdup_printf ("/convert-out/%s/%s", name, kind->name);

  g_test_add_data_func (path, kind, test);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    add ("content", &kinds[i], test_content);
  for (guint i = 0; i < 8; i++)
    {
      add ("sink-fails", &kinds[i], test_sink_fails);
      add ("source-fails", &kinds[i], test_source_fails);
      add ("no-memory", &kinds[i], test_no_memory);
    }
  g_test_add_func ("/convert-out/changing-source", test_changing_source);
  g_test_add_func ("/convert-out/large-disk", test_large_disk);
  g_test_add_func ("/convert-out/refused", test_refused);
  return g_test_run ();
}
