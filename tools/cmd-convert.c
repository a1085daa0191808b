/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-create-options.h"
#include "tool-job.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-size.h"

#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>
#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_COROUTINES 16
#define MAX_LEVEL 22
#define SECTOR_SIZE 512
#define MAX_SPARSE_SIZE (16 * 1024 * 1024)

typedef struct
{
  ToolOpen open;
  const char *output_format;
  GPtrArray *lists; /* of -o */
  const char *backing_name;
  const char *backing_format;
  gboolean progress;
  gboolean quiet;
  gboolean durable;
  gboolean compress;
  int level;
  gboolean existing;       /* -n */
  gboolean target_image_opts;
  gboolean target_is_zero;
  gboolean salvage;
  gboolean bitmaps;
  gboolean skip_broken;
  gboolean verify;
  gboolean dry_run;
  gboolean json;
  gboolean ignore_space;
  guint64 rate;
  gboolean sparse_given;
  guint64 zero_grain;
  gboolean offload;
  guint threads;
  guint64 offset;
  guint64 length;
  gboolean unwrap_given;
  ImagoStreamWrapping wrapping;
  const char *sha256;
  char **sources;
  int n_sources;
  const char *target;
} Settings;

/* ---- options ---- */

/* Durable unless the person says that speed is all. The modes that bypass the page cache or write
 * through it promise no more than a durable result does. */
static gboolean
take_cache_mode (const char *value, gpointer user_data)
{
  Settings *settings = user_data;
  static const char *const safe[] = {
    "writeback", "writethrough", "none", "off", "directsync", NULL
  };

  settings->durable = g_strv_contains (safe, value);
  if (settings->durable || g_str_equal (value, "unsafe"))
    return TRUE;

  tool_error (_("Invalid %s option: %s"), _("cache"), value);
  return FALSE;
}

static gboolean
take_sparse_size (const char *value, gpointer user_data)
{
  Settings *settings = user_data;

  settings->sparse_given = TRUE;
  if (!tool_option_size (value, _("buffer size for sparse output"), &settings->zero_grain))
    return FALSE;
  if (settings->zero_grain % 512 == 0 && settings->zero_grain <= MAX_SPARSE_SIZE)
    return TRUE;

  tool_error (_("Invalid buffer size for sparse output specified. Valid sizes are multiples "
                "of 512 up to %u. Select 0 to disable sparse detection (fully allocates output)."),
              MAX_SPARSE_SIZE);
  return FALSE;
}

static gboolean
take_number (const char *value, guint max, const char *message, guint *number)
{
  guint64 parsed;

  if (g_ascii_string_to_unsigned (value, 10, 1, max, &parsed, NULL))
    {
      *number = (guint) parsed;
      return TRUE;
    }
  tool_error ("%s", message);
  return FALSE;
}

static gboolean
take_threads (const char *value, gpointer user_data)
{
  g_autofree char *message = g_strdup_printf (
    _("Invalid number of coroutines. Allowed number of coroutines is between 1 and %u"), MAX_COROUTINES);

  return take_number (value, MAX_COROUTINES, message, &((Settings *) user_data)->threads);
}

static gboolean
take_level (const char *value, gpointer user_data)
{
  g_autofree char *message =
    g_strdup_printf (_("Invalid compression level. It is a number from 1 to %u"), MAX_LEVEL);
  guint level = 0;

  if (!take_number (value, MAX_LEVEL, message, &level))
    return FALSE;
  ((Settings *) user_data)->level = (int) level;
  return TRUE;
}

static gboolean
take_rate (const char *value, gpointer user_data)
{
  return tool_option_size (value, _("rate limit"), &((Settings *) user_data)->rate);
}

static gboolean
take_wrapping (const char *value, gpointer user_data)
{
  Settings *settings = user_data;
  g_autoptr (GEnumClass) klass = g_type_class_ref (IMAGO_TYPE_STREAM_WRAPPING);
  const GEnumValue *found = g_enum_get_value_by_nick (klass, value);

  if (found != NULL)
    {
      settings->unwrap_given = TRUE;
      settings->wrapping = found->value;
      return TRUE;
    }
  tool_error (_("Invalid wrapping '%s': it is auto, none, gzip, xz or zstd"), value);
  return FALSE;
}

static gboolean
refuse (const char *message)
{
  tool_error ("%s", message);
  return FALSE;
}

/* Standard input as a SOURCE, standard output as TARGET. */
static gboolean
is_standard_stream (const char *name)
{
  return g_str_equal (name, "-");
}

static gboolean
reads_stream (const Settings *settings)
{
  gboolean is_stream = settings->unwrap_given || settings->sha256 != NULL;

  for (int i = 0; i < settings->n_sources; i++)
    is_stream |= is_standard_stream (settings->sources[i]);
  return is_stream;
}

static gboolean
check_stream (const Settings *settings)
{
  if (!reads_stream (settings))
    return TRUE;
  if (settings->n_sources > 1)
    return refuse (_("A stream can be copied alone only"));
  if (settings->open.format != NULL && !g_str_equal (settings->open.format, "raw"))
    return refuse (_("Only a raw disk can be read from a stream"));
  if (settings->existing || settings->open.snapshot != NULL || settings->backing_name != NULL)
    return refuse (_("A stream can be copied to a new image without a backing file only, and has no snapshots"));
  if (settings->dry_run)
    return refuse (_("What a stream needs is not known before it has been read"));
  return TRUE;
}

static gboolean
check_output (const Settings *settings)
{
  if (!is_standard_stream (settings->target))
    return TRUE;
  if (settings->existing)
    return refuse (_("Standard output is no image that could be written to with -n"));
  if (settings->verify)
    return refuse (_("What went to standard output cannot be read back to verify it"));
  if (!settings->dry_run && isatty (STDOUT_FILENO))
    return refuse (_("An image is not written to a terminal: redirect standard output to a file or a pipe"));
  return TRUE;
}

static gboolean
check_bitmaps_together (const Settings *settings)
{
  if (settings->skip_broken && !settings->bitmaps)
    return refuse (_("Use of --skip-broken-bitmaps requires --bitmaps"));
  if (!settings->bitmaps)
    return TRUE;
  if (settings->n_sources > 1)
    return refuse (_("Copying bitmaps only possible with single source"));
  if (is_standard_stream (settings->target))
    return refuse (_("Bitmaps can be copied to a file only"));
  if (reads_stream (settings))
    return refuse (_("Source lacks bitmap support"));
  return TRUE;
}

/* What cannot be asked for together. */
static gboolean
check_together (const Settings *settings)
{
  if (settings->offload && settings->compress)
    return refuse (_("Cannot enable copy offloading when -c is used"));
  if (settings->offload && settings->sparse_given)
    return refuse (_("Cannot enable copy offloading when -S is used"));
  if (settings->offload && settings->salvage)
    return refuse (_("Cannot use copy offloading in salvaging mode"));
  if (settings->target_is_zero && !settings->existing)
    return refuse (_("--target-is-zero requires use of -n flag"));
  if (settings->target_image_opts && !settings->existing)
    return refuse (_("--target-image-opts requires use of -n flag"));
  if (settings->target_image_opts && settings->output_format != NULL)
    return refuse (_("--image-opts and --format are mutually exclusive"));
  if (settings->existing && settings->lists != NULL)
    return refuse (_("-o has no effect when skipping image creation"));
  if (settings->target_is_zero && settings->backing_name != NULL)
    return refuse (_("Cannot use --target-is-zero when the destination image has a backing file"));
  if (settings->n_sources > 1 && settings->backing_name != NULL)
    return refuse (_("Having a backing file for the target makes no sense when concatenating "
                     "multiple input images"));
  if (settings->n_sources > 1 && settings->open.snapshot != NULL)
    return refuse (_("No support for concatenating multiple snapshot"));
  if (settings->json && !settings->dry_run)
    return refuse (_("--output has a meaning only with --dry-run"));
  return check_bitmaps_together (settings) && check_stream (settings) && check_output (settings);
}

/* ---- the target ---- */

static ImagoFormat *
find_format (const Settings *settings)
{
  const char *name = settings->output_format != NULL ? settings->output_format : "raw";
  ImagoFormat *format = tool_find_format (name);
  g_autofree char *option = NULL;

  if (format == NULL)
    {
      tool_error (_("Unknown file format '%s'"), name);
      return NULL;
    }
  if (imago_format_get_flags (format) & IMAGO_FORMAT_CONVERT_TARGET)
    return format;
  option = g_strdup_printf ("-O %s", name);
  tool_option_refuse (option, _("images of this format cannot be written"));
  return NULL;
}

static gboolean
set_backing (const Settings *settings, ImagoFormat *format, ToolCreateOptions *options)
{
  if ((settings->backing_name != NULL &&
       !tool_create_options_set (options, "backing_file", settings->backing_name)) ||
      (settings->backing_format != NULL &&
       !tool_create_options_set (options, "backing_fmt", settings->backing_format)))
    {
      tool_error (_("Backing file not supported for file format '%s'"), imago_format_get_name (format));
      return FALSE;
    }
  if (tool_create_options_get (options, "backing_file") == NULL &&
      tool_create_options_get (options, "backing_fmt") != NULL)
    {
      tool_error (_("%s: error while converting %s: %s"), settings->target, imago_format_get_name (format),
                  _("Backing format cannot be used without backing file"));
      return FALSE;
    }
  if (tool_create_options_get (options, "backing_file") == NULL ||
      tool_create_options_get (options, "backing_fmt") != NULL)
    return TRUE;
  return refuse (_("Use of backing file requires explicit backing format"));
}

static gboolean
check_compression (const Settings *settings, ImagoFormat *format, ToolCreateOptions *options)
{
  const char *preallocation = tool_create_options_get (options, "preallocation");

  if (!settings->compress)
    return TRUE;
  if ((imago_format_get_flags (format) & IMAGO_FORMAT_COMPRESSED) == 0)
    return refuse (_("Compression not supported for this file format"));
  if (preallocation != NULL && !g_str_equal (preallocation, "off"))
    return refuse (_("Compression and preallocation not supported at the same time"));
  return TRUE;
}

/* What -o, -B and -F ask for. The size is that of what is copied, whatever -o says. */
static ImagoCreateOptions *
make_create_options (const Settings *settings, ImagoFormat *format, ToolCreateOptions *options)
{
  g_autoptr (ImagoReferencePolicy) policy = tool_make_policy (settings->open.references);
  g_autoptr (ImagoCreateOptions) made =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", imago_format_get_name (format), "overwrite", TRUE,
                  "allow-device", TRUE, "reference-policy", policy, NULL);

  for (guint i = 0; settings->lists != NULL && i < settings->lists->len; i++)
    if (!tool_create_options_parse (options, g_ptr_array_index (settings->lists, i), settings->target))
      return NULL;
  if (!set_backing (settings, format, options) || !check_compression (settings, format, options))
    return NULL;
  g_object_set (made, "backing-name", tool_create_options_get (options, "backing_file"), NULL);
  tool_create_options_set (options, "size", NULL);
  if (!tool_create_options_apply (options, made, settings->target))
    return NULL;
  return g_steal_pointer (&made);
}

static gboolean
wants_help (const Settings *settings)
{
  for (guint i = 0; settings->lists != NULL && i < settings->lists->len; i++)
    if (tool_create_options_is_help (g_ptr_array_index (settings->lists, i)))
      return TRUE;
  return FALSE;
}

static ImagoImage *
open_target (const Settings *settings)
{
  const ToolOpen how = {
    .format = settings->output_format != NULL || settings->target_image_opts ? settings->output_format : "raw",
    .references = settings->open.references,
    .image_opts = settings->target_image_opts,
    .unmaps = !settings->sparse_given || settings->zero_grain > 0,
    .writable = !settings->dry_run,
  };
  g_autoptr (GError) error = NULL;
  ImagoImage *image = tool_open (settings->target, &how, &error);

  if (image == NULL)
    tool_open_print_error (settings->target, error);
  return image;
}

/* ---- the sources ---- */

static GPtrArray *
open_sources (const Settings *settings)
{
  g_autoptr (GPtrArray) images = g_ptr_array_new_with_free_func (g_object_unref);

  for (int i = 0; i < settings->n_sources; i++)
    {
      g_autoptr (GError) error = NULL;
      ImagoImage *image = tool_open (settings->sources[i], &settings->open, &error);

      if (image == NULL)
        {
          tool_open_print_error (settings->sources[i], error);
          return NULL;
        }
      g_ptr_array_add (images, image);
    }
  return g_steal_pointer (&images);
}

/* As soon as it is known, in words that scripts know. The job itself looks at what a part needs. */
static gboolean
check_room (const Settings *settings, GPtrArray *images, ImagoImage *target)
{
  guint64 size = 0;

  if (settings->offset > 0 || settings->length > 0)
    return TRUE;
  for (guint i = 0; i < images->len; i++)
    size += imago_image_get_size (images->pdata[i]);
  return size <= imago_image_get_size (target) || refuse (_("output file is smaller than input file"));
}

/* ---- the job ---- */

static void
print_failure (const Settings *settings, const GError *error)
{
  tool_error (_("%s: error while converting %s: %s"), settings->target,
              settings->output_format != NULL ? settings->output_format : "raw", error->message);
  tool_open_print_hint (error);
}

static GFile *
name_target (const Settings *settings)
{
  g_autoptr (GError) error = NULL;
  GFile *file = tool_new_file (settings->target, &error);

  if (file == NULL)
    print_failure (settings, error);
  return file;
}

static ImagoConvertJob *
make_job_for_new (const Settings *settings, ImagoCreateOptions *options, const char *source_property, gpointer source)
{
  g_autoptr (GOutputStream) output = NULL;
  g_autoptr (GFile) file = NULL;

  if (is_standard_stream (settings->target))
    output = g_unix_output_stream_new (STDOUT_FILENO, FALSE);
  else
    {
      file = name_target (settings);
      if (file == NULL)
        return NULL;
    }
  return g_object_new (IMAGO_TYPE_CONVERT_JOB, source_property, source, "destination", file, "target-stream", output,
                       "create-options", options, NULL);
}

static ImagoConvertJob *
make_job (const Settings *settings, GPtrArray *images, ImagoFormat *format)
{
  g_autoptr (ToolCreateOptions) options = tool_create_options_new (format);
  g_autoptr (ImagoCreateOptions) made = NULL;
  g_autoptr (ImagoConvertJob) job = NULL;
  g_autoptr (ImagoImage) target = NULL;

  if (settings->existing)
    {
      target = open_target (settings);
      if (target == NULL || !check_compression (settings, imago_image_get_format (target), options) ||
          !check_room (settings, images, target))
        return NULL;
      job = imago_convert_job_new_for_image (images->pdata[0], target);
    }
  else
    {
      made = make_create_options (settings, format, options);
      if (made == NULL)
        return NULL;
      job = make_job_for_new (settings, made, "source", images->pdata[0]);
      if (job == NULL)
        return NULL;
    }
  for (guint i = 1; i < images->len; i++)
    imago_convert_job_add_source (job, images->pdata[i]);
  return g_steal_pointer (&job);
}

/* In the words of qemu-img. */
static gboolean
check_broken (const Settings *settings, GListModel *bitmaps)
{
  for (guint i = 0; i < g_list_model_get_n_items (bitmaps); i++)
    {
      g_autoptr (ImagoBitmap) bitmap = g_list_model_get_item (bitmaps, i);
      g_autofree char *name = tool_printable (imago_bitmap_get_name (bitmap));

      if (!imago_bitmap_get_in_use (bitmap))
        continue;
      if (settings->skip_broken)
        {
          tool_error (_("warning: Skipping inconsistent bitmap '%s'"), name);
          continue;
        }
      tool_error (_("Cannot copy inconsistent bitmap '%s'"), name);
      fprintf (stderr, _("Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it\n"));
      return FALSE;
    }
  return TRUE;
}

/* Whether what is written to can have bitmaps. */
static gboolean
check_target_format (ImagoConvertJob *job, const char *format, ImagoImageInfo *target)
{
  g_autoptr (ImagoCreateOptions) create = NULL;
  gboolean is_old;
  guint version = 0;

  g_object_get (job, "create-options", &create, NULL);
  if (create != NULL)
    g_object_get (create, "version", &version, NULL);
  is_old = target != NULL ? g_strcmp0 (imago_image_info_get_compat (target), "1.1") != 0 : version == 2;
  if (g_str_equal (format, "qcow2") && !is_old)
    return TRUE;
  tool_error (_("Format driver '%s' does not support bitmaps"), format);
  return FALSE;
}

static gboolean
has_bitmap (ImagoImageInfo *info, const char *name)
{
  GListModel *bitmaps = imago_image_info_get_bitmaps (info);

  for (guint i = 0; i < g_list_model_get_n_items (bitmaps); i++)
    {
      g_autoptr (ImagoBitmap) bitmap = g_list_model_get_item (bitmaps, i);

      if (g_strcmp0 (imago_bitmap_get_name (bitmap), name) == 0)
        return TRUE;
    }
  return FALSE;
}

/* What qemu-img finds when all but the bitmaps has been copied, the last bitmap first, is found before. */
static gboolean
check_fits (ImagoImageInfo *source, ImagoImageInfo *target)
{
  guint64 source_size = imago_image_info_get_virtual_size (source);
  guint64 target_size = imago_image_info_get_virtual_size (target);
  GListModel *bitmaps = imago_image_info_get_bitmaps (source);

  for (guint i = g_list_model_get_n_items (bitmaps); i > 0; i--)
    {
      g_autoptr (ImagoBitmap) bitmap = g_list_model_get_item (bitmaps, i - 1);
      const char *name = imago_bitmap_get_name (bitmap);
      g_autofree char *printable = tool_printable (name);

      if (imago_bitmap_get_in_use (bitmap))
        continue;
      if (has_bitmap (target, name))
        tool_error (_("Failed to create bitmap %s: Bitmap already exists: %s"), printable, printable);
      else if (source_size != target_size)
        tool_error (_("Failed to populate bitmap %s: Bitmaps are of different sizes (destination size is %" PRIu64
                      ", source size is %" PRIu64 ") and can't be merged"),
                    printable, target_size, source_size);
      else
        continue;
      return FALSE;
    }
  return TRUE;
}

static ImagoImageInfo *
query_info (const char *filename, ImagoImage *image)
{
  g_autoptr (GError) error = NULL;
  ImagoImageInfo *info = imago_image_query_info (image, NULL, &error);

  if (info == NULL)
    tool_open_print_error (filename, error);
  return info;
}

static gboolean
check_bitmaps (const Settings *settings, ImagoImage *source, ImagoConvertJob *job)
{
  g_autoptr (ImagoImageInfo) info = NULL;
  g_autoptr (ImagoImageInfo) target_info = NULL;
  g_autoptr (ImagoImage) target = NULL;
  const char *format = settings->output_format != NULL ? settings->output_format : "raw";

  if (!settings->bitmaps)
    return TRUE;
  info = query_info (settings->sources[0], source);
  if (info == NULL)
    return FALSE;
  if (g_strcmp0 (imago_image_info_get_compat (info), "1.1") != 0)
    return refuse (_("Source lacks bitmap support"));

  g_object_get (job, "target", &target, NULL);
  if (target != NULL)
    {
      target_info = query_info (settings->target, target);
      if (target_info == NULL)
        return FALSE;
      format = imago_image_info_get_format_name (target_info);
    }
  return check_target_format (job, format, target_info) &&
         check_broken (settings, imago_image_info_get_bitmaps (info)) &&
         (target_info == NULL || check_fits (info, target_info));
}

static GInputStream *
open_stream (const Settings *settings)
{
  const char *name = settings->sources[0];
  g_autoptr (GFile) file = NULL;
  g_autoptr (GError) error = NULL;
  GFileInputStream *stream;

  if (is_standard_stream (name))
    return g_unix_input_stream_new (STDIN_FILENO, FALSE);
  file = g_file_new_for_path (name);
  stream = g_file_read (file, NULL, &error);
  if (stream == NULL)
    tool_open_print_error (name, error);
  return (GInputStream *) stream;
}

/* "-f raw" says that the bytes are the disk, whatever they look like. */
static ImagoConvertJob *
make_stream_job (const Settings *settings, ImagoFormat *format)
{
  g_autoptr (ToolCreateOptions) options = tool_create_options_new (format);
  g_autoptr (ImagoCreateOptions) made = make_create_options (settings, format, options);
  g_autoptr (GInputStream) stream = NULL;
  ImagoConvertJob *job;
  ImagoStreamWrapping wrapping =
    settings->open.format != NULL ? IMAGO_STREAM_WRAPPING_NONE : IMAGO_STREAM_WRAPPING_AUTO;

  stream = made != NULL ? open_stream (settings) : NULL;
  if (stream == NULL)
    return NULL;
  job = make_job_for_new (settings, made, "source-stream", stream);
  if (job == NULL)
    return NULL;
  g_object_set (job, "wrapping", settings->unwrap_given ? settings->wrapping : wrapping, "sha256", settings->sha256,
                NULL);
  return job;
}

static void
print_padding (ImagoConvertJob *job)
{
  guint64 length;

  g_object_get (job, "stream-length", &length, NULL);
  if (length % SECTOR_SIZE > 0)
    tool_error (_("warning: %" PRIu64 " bytes arrived; the last sector was filled up with zeroes"), length);
}

static void
print_salvaged (ImagoConvertJob *job)
{
  guint64 offset, length;

  for (guint i = 0; imago_convert_job_get_salvaged_range (job, i, &offset, &length); i++)
    tool_error (_("warning: error while reading offset %" PRIu64 ": %" PRIu64 " bytes became zeroes"), offset,
                length);
}

/* ---- the plan ---- */

static const char *
room_to_word (ImagoConvertRoom room)
{
  switch (room)
    {
    case IMAGO_CONVERT_ROOM_ENOUGH:
      return "enough";
    case IMAGO_CONVERT_ROOM_UNCERTAIN:
      return "uncertain";
    case IMAGO_CONVERT_ROOM_TOO_LITTLE:
      return "too-little";
    case IMAGO_CONVERT_ROOM_NONE:
      break;
    }
  return "unknown";
}

static const char *
room_to_text (ImagoConvertRoom room)
{
  switch (room)
    {
    case IMAGO_CONVERT_ROOM_ENOUGH:
      return _("enough");
    case IMAGO_CONVERT_ROOM_UNCERTAIN:
      return _("perhaps too little");
    case IMAGO_CONVERT_ROOM_TOO_LITTLE:
      return _("too little");
    case IMAGO_CONVERT_ROOM_NONE:
      break;
    }
  return _("not known");
}

static JsonArray *
losses_to_json (ImagoConvertLosses losses)
{
  g_autoptr (GFlagsClass) klass = g_type_class_ref (IMAGO_TYPE_CONVERT_LOSSES);
  JsonArray *array = json_array_new ();

  for (guint i = 0; i < klass->n_values; i++)
    if (klass->values[i].value & losses)
      json_array_add_string_element (array, klass->values[i].value_nick);
  return array;
}

static void
print_plan_json (ImagoConvertPlan *plan)
{
  JsonObject *object = json_object_new ();
  JsonNode *node = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (node, object);
  tool_json_add_size (object, "required", imago_convert_plan_get_required_size (plan));
  tool_json_add_size (object, "fully-allocated", imago_convert_plan_get_fully_allocated_size (plan));
  if (imago_convert_plan_get_has_available_size (plan))
    tool_json_add_size (object, "available", imago_convert_plan_get_available_size (plan));
  tool_json_add_string (object, "room", room_to_word (imago_convert_plan_get_room (plan)));
  json_object_set_array_member (object, "losses", losses_to_json (imago_convert_plan_get_losses (plan)));
  tool_json_print (node);
}

static void
print_plan_text (ImagoConvertPlan *plan)
{
  const char *const *texts = imago_convert_plan_get_loss_texts (plan);

  printf (_("required size (at most): %" PRIu64 "\n"), imago_convert_plan_get_required_size (plan));
  printf (_("fully allocated size: %" PRIu64 "\n"), imago_convert_plan_get_fully_allocated_size (plan));
  if (imago_convert_plan_get_has_available_size (plan))
    printf (_("available: %" PRIu64 "\n"), imago_convert_plan_get_available_size (plan));
  printf (_("room: %s\n"), room_to_text (imago_convert_plan_get_room (plan)));
  for (guint i = 0; texts[i] != NULL; i++)
    printf (_("lost: %s\n"), texts[i]);
}

/* A conversion that would be refused is no success, for scripts. */
static int
print_plan (const Settings *settings, ImagoConvertJob *job)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoConvertPlan) plan = imago_convert_job_plan (job, NULL, &error);

  if (plan == NULL)
    {
      tool_error ("%s: %s", settings->target, error->message);
      return EXIT_FAILURE;
    }
  if (settings->json)
    print_plan_json (plan);
  else
    print_plan_text (plan);
  return imago_convert_plan_get_room (plan) == IMAGO_CONVERT_ROOM_TOO_LITTLE && !settings->ignore_space
           ? EXIT_FAILURE
           : EXIT_SUCCESS;
}

/* ---- doing it ---- */

static void
set_up_job (const Settings *settings, ImagoConvertJob *job)
{
  g_object_set (job, "compress", settings->compress, "compression-level", settings->level, "zero-grain",
                settings->offload ? 0u : (guint) settings->zero_grain, "allocate-all", settings->sparse_given && settings->zero_grain == 0,
                "salvage", settings->salvage, "target-is-zero", settings->target_is_zero, "offset",
                settings->offset, "length", settings->length, "copy-bitmaps", settings->bitmaps, "skip-broken-bitmaps",
                settings->skip_broken, "verify", settings->verify, "rate-limit", settings->rate,
                "check-space", !settings->ignore_space, NULL);
  imago_convert_job_set_durable (job, settings->durable);
  imago_job_set_threads (IMAGO_JOB (job), settings->threads);
}

/* Never among the bytes of an image. */
static FILE *
find_progress (const Settings *settings)
{
  if (!settings->progress || settings->quiet)
    return NULL;
  return is_standard_stream (settings->target) ? stderr : stdout;
}

static int
convert (const Settings *settings, ImagoConvertJob *job)
{
  g_autoptr (ImagoImage) target = NULL;
  g_autoptr (GError) error = NULL;

  g_object_get (job, "target", &target, NULL);
  if (tool_job_run_writing (IMAGO_JOB (job), target, find_progress (settings), &error))
    {
      print_salvaged (job);
      print_padding (job);
      return EXIT_SUCCESS;
    }

  print_failure (settings, error);
  return EXIT_FAILURE;
}

static int
run_convert (const Settings *settings)
{
  ImagoFormat *format = find_format (settings);
  g_autoptr (GPtrArray) images = NULL;
  g_autoptr (ImagoConvertJob) job = NULL;

  if (format == NULL)
    return EXIT_FAILURE;
  if (!reads_stream (settings))
    images = open_sources (settings);
  if (images != NULL)
    job = make_job (settings, images, format);
  else if (reads_stream (settings))
    job = make_stream_job (settings, format);
  if (job == NULL || (images != NULL && !check_bitmaps (settings, images->pdata[0], job)))
    return EXIT_FAILURE;
  set_up_job (settings, job);
  return settings->dry_run ? print_plan (settings, job) : convert (settings, job);
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  ImagoFormat *format;

  if (wants_help (settings))
    {
      g_autoptr (ToolCreateOptions) options = NULL;

      format = find_format (settings);
      if (format == NULL)
        return EXIT_FAILURE;
      options = tool_create_options_new (format);
      tool_create_options_print_help (options);
      return EXIT_SUCCESS;
    }
  if (n_operands < 2)
    return tool_command_misuse (_("Must specify image file name"));
  settings->sources = operands;
  settings->n_sources = n_operands - 1;
  settings->target = operands[n_operands - 1];
  if (!tool_create_options_check_lists (settings->lists) || !check_together (settings))
    return EXIT_FAILURE;
  return run_convert (settings);
}

static const ToolOption options[] = {
  TOOL_STRING ('O', "target-format", N_("FORMAT"), Settings, output_format,
               N_("the format of TARGET (default: raw)")),
  TOOL_LIST ('o', "options", N_("LIST"), Settings, lists,
             N_("options of the new image; \"-o help\" lists them")),
  TOOL_STRING ('B', "backing", N_("FILE"), Settings, backing_name,
               N_("a file with what lies below SOURCE: only what SOURCE itself holds is copied")),
  TOOL_STRING ('F', "backing-format", N_("FORMAT"), Settings, backing_format,
               N_("the format of that file")),
  TOOL_FLAG ('c', "compress", Settings, compress, N_("store compressed clusters")),
  TOOL_CALL (0, "level", N_("N"), take_level, N_("how hard to compress, from 1 on")),
  TOOL_FLAG ('n', "no-create", Settings, existing,
             N_("write to TARGET, which exists and is large enough")),
  TOOL_FLAG (0, "target-is-zero", Settings, target_is_zero, N_("with -n: TARGET reads as zero")),
  TOOL_STRING ('l', "snapshot", N_("SNAPSHOT"), Settings, open.snapshot,
               N_("copy an internal snapshot: an id, a name, or snapshot.id=ID,snapshot.name=NAME")),
  TOOL_SIZE (0, "offset", Settings, offset, N_("offset"), N_("copy what begins there")),
  TOOL_SIZE (0, "length", Settings, length, N_("length"), N_("copy no more than that (default: up to the end)")),
  TOOL_CALL ('S', "sparse-size", N_("SIZE"), take_sparse_size,
             N_("so many zeroes in a row take no space (default: 4k); 0: everything is allocated")),
  TOOL_FLAG ('C', "copy-range-offloading", Settings, offload, N_("let the kernel copy")),
  TOOL_FLAG (0, "salvage", Settings, salvage, N_("what cannot be read becomes zeroes")),
  TOOL_CALL ('t', "cache", N_("MODE"), take_cache_mode,
             N_("unsafe: do not wait until TARGET is on the disk; all other modes do")),
  TOOL_CALL ('m', "parallel", N_("N"), take_threads,
             N_("copy with N threads, 1 to 16 (default: one for each processor)")),
  TOOL_CALL ('r', "rate-limit", N_("RATE"), take_rate, N_("bytes a second, with a suffix k, M, G, …")),
  TOOL_FLAG (0, "verify", Settings, verify, N_("compare the result with SOURCE before it gets its name")),
  TOOL_CALL (0, "unwrap", N_("WRAPPING"), take_wrapping,
             N_("decode SOURCE, a raw disk in gzip, xz or zstd, on the fly: auto (the default for \"-\" without -f), none, gzip, xz or "
                "zstd")),
  TOOL_STRING (0, "sha256", N_("DIGEST"), Settings, sha256,
               N_("the digest of SOURCE as it arrives; with another one nothing gets the name TARGET")),
  TOOL_FLAG (0, "dry-run", Settings, dry_run,
             N_("write nothing: tell how much room is needed, how much there is, and what gets lost")),
  TOOL_COMMON_OUTPUT (Settings, json),
  TOOL_FLAG (0, "ignore-space", Settings, ignore_space,
             N_("begin even if the file system certainly has too little room")),
  TOOL_FLAG (0, "target-image-opts", Settings, target_image_opts,
             N_("with -n: TARGET is no file name but a list of options")),
  TOOL_FLAG (0, "bitmaps", Settings, bitmaps, N_("copy the persistent bitmaps of SOURCE, too")),
  TOOL_FLAG (0, "skip-broken-bitmaps", Settings, skip_broken,
             N_("with --bitmaps: leave out those that were not closed")),
  TOOL_STRING ('f', "source-format", N_("FORMAT"), Settings, open.format,
               N_("the format of SOURCE (default: what it looks like)")),
  { .type = TOOL_OPTION_STRING, .group = TOOL_GROUP_HIDDEN, .letter = 'f', .name = "format",
    .argument = N_("FORMAT"), .offset = TOOL_FIELD (Settings, open.format, const char *) },
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  TOOL_ACCEPTED ('W', "oob-writes", NULL, N_("write in any order: the result is the same")),
  TOOL_COMMON_SOURCE_CACHE ('T', "source-cache"),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .durable = TRUE, .zero_grain = 4096 };

const ToolCommand tool_command_convert = {
  .name = "convert",
  .operands = N_("SOURCE… TARGET"),
  .summary = N_("copy disks into an image"),
  .description = N_("Copies a disk, with all that lies below it, into a new image. Several disks become "
                    "one, one behind the other. TARGET appears, or is replaced, when it is complete; an "
                    "interrupted copy leaves nothing. The SOURCE \"-\" is a raw disk from "
                    "standard input, whose length is what arrives or --length. The TARGET "
                    "\"-\" is standard output, which gets the bytes of the image in order."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
