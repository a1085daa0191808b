/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-check-message-private.h"
#include "imago-check-result-private.h"

/**
 * SECTION:imago-check-result
 * @title: ImagoCheckResult
 * @short_description: What a check of an image found
 *
 * What an #ImagoCheckJob found. An image is sound when #ImagoCheckResult:check-errors,
 * #ImagoCheckResult:corruptions and #ImagoCheckResult:leaks are all 0; leaks alone do no harm.
 *
 * Results never change and may be used from any thread.
 */

/**
 * ImagoCheckResult:
 *
 * What a check of an image found: the counts of `qemu-img check`, and a message for each finding.
 *
 * Since: 1.0
 */
struct _ImagoCheckResult
{
  GObject parent_instance;

  guint64 check_errors;
  guint64 corruptions;
  guint64 leaks;
  guint64 corruptions_fixed;
  guint64 leaks_fixed;
  guint64 total_clusters;
  guint64 allocated_clusters;
  guint64 fragmented_clusters;
  guint64 compressed_clusters;
  guint64 image_end_offset;
  guint64 n_messages;
  GListModel *messages;
};

G_DEFINE_FINAL_TYPE (ImagoCheckResult, imago_check_result, G_TYPE_OBJECT)

enum
{
  PROP_CHECK_ERRORS = 1,
  PROP_CORRUPTIONS,
  PROP_LEAKS,
  PROP_CORRUPTIONS_FIXED,
  PROP_LEAKS_FIXED,
  PROP_TOTAL_CLUSTERS,
  PROP_ALLOCATED_CLUSTERS,
  PROP_FRAGMENTED_CLUSTERS,
  PROP_COMPRESSED_CLUSTERS,
  PROP_IMAGE_END_OFFSET,
  PROP_N_MESSAGES,
  PROP_MESSAGES,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_check_result_get_property (GObject *object,
                                 guint property_id,
                                 GValue *value,
                                 GParamSpec *pspec)
{
  ImagoCheckResult *self = IMAGO_CHECK_RESULT (object);

  switch (property_id)
    {
    case PROP_CHECK_ERRORS:
      g_value_set_uint64 (value, self->check_errors);
      break;
    case PROP_CORRUPTIONS:
      g_value_set_uint64 (value, self->corruptions);
      break;
    case PROP_LEAKS:
      g_value_set_uint64 (value, self->leaks);
      break;
    case PROP_CORRUPTIONS_FIXED:
      g_value_set_uint64 (value, self->corruptions_fixed);
      break;
    case PROP_LEAKS_FIXED:
      g_value_set_uint64 (value, self->leaks_fixed);
      break;
    case PROP_TOTAL_CLUSTERS:
      g_value_set_uint64 (value, self->total_clusters);
      break;
    case PROP_ALLOCATED_CLUSTERS:
      g_value_set_uint64 (value, self->allocated_clusters);
      break;
    case PROP_FRAGMENTED_CLUSTERS:
      g_value_set_uint64 (value, self->fragmented_clusters);
      break;
    case PROP_COMPRESSED_CLUSTERS:
      g_value_set_uint64 (value, self->compressed_clusters);
      break;
    case PROP_IMAGE_END_OFFSET:
      g_value_set_uint64 (value, self->image_end_offset);
      break;
    case PROP_N_MESSAGES:
      g_value_set_uint64 (value, self->n_messages);
      break;
    case PROP_MESSAGES:
      g_value_set_object (value, self->messages);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_check_result_finalize (GObject *object)
{
  g_clear_object (&IMAGO_CHECK_RESULT (object)->messages);
  G_OBJECT_CLASS (imago_check_result_parent_class)->finalize (object);
}

static void
imago_check_result_class_init (ImagoCheckResultClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_check_result_get_property;
  object_class->finalize = imago_check_result_finalize;

  /**
   * ImagoCheckResult:check-errors:
   *
   * How many things could not be checked, for example because they could not be read.
   *
   * Since: 1.0
   */
  properties[PROP_CHECK_ERRORS] = g_param_spec_uint64 (
    "check-errors", "Check errors", "What could not be checked", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:corruptions:
   *
   * How many errors endanger the data of the disk.
   *
   * Since: 1.0
   */
  properties[PROP_CORRUPTIONS] = g_param_spec_uint64 (
    "corruptions", "Corruptions", "Errors that endanger data", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:leaks:
   *
   * How many clusters of the file count as used and are not; they cost space and nothing else.
   *
   * Since: 1.0
   */
  properties[PROP_LEAKS] =
    g_param_spec_uint64 ("leaks", "Leaks", "Clusters that nothing uses", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:corruptions-fixed:
   *
   * How many corruptions and check errors a repair has removed; they are not in the other counts.
   *
   * Since: 1.0
   */
  properties[PROP_CORRUPTIONS_FIXED] =
    g_param_spec_uint64 ("corruptions-fixed", "Corruptions fixed", "Corruptions that were repaired",
                         0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:leaks-fixed:
   *
   * How many clusters of the file a repair has given back; they are not in the other counts.
   *
   * Since: 1.0
   */
  properties[PROP_LEAKS_FIXED] =
    g_param_spec_uint64 ("leaks-fixed", "Leaks fixed", "Leaked clusters that were given back", 0,
                         G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:total-clusters:
   *
   * How many clusters the disk has.
   *
   * Since: 1.0
   */
  properties[PROP_TOTAL_CLUSTERS] = g_param_spec_uint64 (
    "total-clusters", "Total clusters", "Clusters of the disk", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:allocated-clusters:
   *
   * How many of the clusters of the disk have a place in the file.
   *
   * Since: 1.0
   */
  properties[PROP_ALLOCATED_CLUSTERS] =
    g_param_spec_uint64 ("allocated-clusters", "Allocated clusters",
                         "Clusters that have a place in the file", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:fragmented-clusters:
   *
   * How many allocated clusters do not follow the one before them.
   *
   * Since: 1.0
   */
  properties[PROP_FRAGMENTED_CLUSTERS] =
    g_param_spec_uint64 ("fragmented-clusters", "Fragmented clusters",
                         "Clusters that do not follow the one before", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:compressed-clusters:
   *
   * How many of the clusters of the disk are compressed.
   *
   * Since: 1.0
   */
  properties[PROP_COMPRESSED_CLUSTERS] =
    g_param_spec_uint64 ("compressed-clusters", "Compressed clusters",
                         "Clusters that are compressed", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:image-end-offset:
   *
   * The offset in the file in bytes behind the last cluster that is in use.
   *
   * Since: 1.0
   */
  properties[PROP_IMAGE_END_OFFSET] =
    g_param_spec_uint64 ("image-end-offset", "Image end offset",
                         "Where the used part of the file ends", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:n-messages:
   *
   * How many messages there were; #ImagoCheckResult:messages does not hold more than a bounded
   * number.
   *
   * Since: 1.0
   */
  properties[PROP_N_MESSAGES] = g_param_spec_uint64 (
    "n-messages", "Number of messages", "How many messages there were", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckResult:messages:
   *
   * The findings one by one: a list of #ImagoCheckMessage.
   *
   * Since: 1.0
   */
  properties[PROP_MESSAGES] = g_param_spec_object (
    "messages", "Messages", "The findings one by one", G_TYPE_LIST_MODEL, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_check_result_init (ImagoCheckResult *self)
{
}

ImagoCheckResult *
imago_check_result_new (const ImgCheckResult *core)
{
  ImagoCheckResult *self = g_object_new (IMAGO_TYPE_CHECK_RESULT, NULL);

  self->check_errors = core->check_errors;
  self->corruptions = core->corruptions;
  self->leaks = core->leaks;
  self->corruptions_fixed = core->corruptions_fixed;
  self->leaks_fixed = core->leaks_fixed;
  self->total_clusters = core->total_clusters;
  self->allocated_clusters = core->allocated_clusters;
  self->fragmented_clusters = core->fragmented_clusters;
  self->compressed_clusters = core->compressed_clusters;
  self->image_end_offset = core->image_end_offset;
  self->n_messages = core->n_messages;
  self->messages = imago_check_message_list_from_core (core->messages);
  return self;
}

/**
 * imago_check_result_get_check_errors:
 * @self: an #ImagoCheckResult
 *
 * Gets how many things could not be checked, for example because they could not be read.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_check_errors (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->check_errors;
}

/**
 * imago_check_result_get_corruptions:
 * @self: an #ImagoCheckResult
 *
 * Gets how many errors endanger the data of the disk.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_corruptions (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->corruptions;
}

/**
 * imago_check_result_get_leaks:
 * @self: an #ImagoCheckResult
 *
 * Gets how many clusters of the file count as used and are not; they cost space and nothing else.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_leaks (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->leaks;
}

/**
 * imago_check_result_get_corruptions_fixed:
 * @self: an #ImagoCheckResult
 *
 * Gets how many corruptions and check errors a repair has removed; they are not in the other counts.
 * COPIED flags count as they are once the refcounts have been repaired, as in `qemu-img`: some are right then, others are
 * no longer. So the number may differ from what a check finds before.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_corruptions_fixed (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->corruptions_fixed;
}

/**
 * imago_check_result_get_leaks_fixed:
 * @self: an #ImagoCheckResult
 *
 * Gets how many clusters of the file a repair has given back; they are not in the other counts.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_leaks_fixed (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->leaks_fixed;
}

/**
 * imago_check_result_get_total_clusters:
 * @self: an #ImagoCheckResult
 *
 * Gets how many clusters the disk has.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_total_clusters (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->total_clusters;
}

/**
 * imago_check_result_get_allocated_clusters:
 * @self: an #ImagoCheckResult
 *
 * Gets how many of the clusters of the disk have a place in the file.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_allocated_clusters (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->allocated_clusters;
}

/**
 * imago_check_result_get_fragmented_clusters:
 * @self: an #ImagoCheckResult
 *
 * Gets how many allocated clusters do not follow the one before them.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_fragmented_clusters (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->fragmented_clusters;
}

/**
 * imago_check_result_get_compressed_clusters:
 * @self: an #ImagoCheckResult
 *
 * Gets how many of the clusters of the disk are compressed.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_compressed_clusters (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->compressed_clusters;
}

/**
 * imago_check_result_get_image_end_offset:
 * @self: an #ImagoCheckResult
 *
 * Gets the offset in the file in bytes behind the last cluster that is in use.
 *
 * Returns: the offset in bytes
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_image_end_offset (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->image_end_offset;
}

/**
 * imago_check_result_get_n_messages:
 * @self: an #ImagoCheckResult
 *
 * Gets how many messages there were; #ImagoCheckResult:messages does not hold more than a bounded
 * number.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint64
imago_check_result_get_n_messages (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), 0);

  return self->n_messages;
}

/**
 * imago_check_result_get_messages:
 * @self: an #ImagoCheckResult
 *
 * Gets the findings one by one, in the order in which they were made. A badly damaged image has
 * more of them than anybody reads: the list is bounded, imago_check_result_get_n_messages() is not.
 *
 * Returns: (transfer none): a list of #ImagoCheckMessage
 *
 * Since: 1.0
 */
GListModel *
imago_check_result_get_messages (ImagoCheckResult *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_RESULT (self), NULL);

  return self->messages;
}
