/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-snapshot-private.h"

/**
 * SECTION:imago-snapshot
 * @title: ImagoSnapshot
 * @short_description: A snapshot inside an image
 *
 * What the snapshot table of an image says of one snapshot. To read its disk, open the image with
 * #ImagoOpenOptions:snapshot.
 *
 * Snapshots never change and may be used from any thread.
 */

/**
 * ImagoSnapshot:
 *
 * A snapshot inside an image.
 *
 * Since: 1.0
 */
struct _ImagoSnapshot
{
  GObject parent_instance;

  char *id;
  char *name;
  guint64 disk_size;
  guint64 vm_state_size;
  guint64 vm_clock;
  gboolean has_icount;
  guint64 icount;
  gint64 date_usec;
  guint date_nanoseconds;
  GDateTime *date_time;
};

G_DEFINE_FINAL_TYPE (ImagoSnapshot, imago_snapshot, G_TYPE_OBJECT)

enum
{
  PROP_ID = 1,
  PROP_NAME,
  PROP_DISK_SIZE,
  PROP_VM_STATE_SIZE,
  PROP_VM_CLOCK,
  PROP_DATE_USEC,
  PROP_DATE_NANOSECONDS,
  PROP_DATE_TIME,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_snapshot_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoSnapshot *self = IMAGO_SNAPSHOT (object);

  switch (property_id)
    {
    case PROP_ID:
      g_value_set_string (value, self->id);
      break;
    case PROP_NAME:
      g_value_set_string (value, self->name);
      break;
    case PROP_DISK_SIZE:
      g_value_set_uint64 (value, self->disk_size);
      break;
    case PROP_VM_STATE_SIZE:
      g_value_set_uint64 (value, self->vm_state_size);
      break;
    case PROP_VM_CLOCK:
      g_value_set_uint64 (value, self->vm_clock);
      break;
    case PROP_DATE_USEC:
      g_value_set_int64 (value, self->date_usec);
      break;
    case PROP_DATE_NANOSECONDS:
      g_value_set_uint (value, self->date_nanoseconds);
      break;
    case PROP_DATE_TIME:
      g_value_set_boxed (value, self->date_time);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_snapshot_finalize (GObject *object)
{
  ImagoSnapshot *self = IMAGO_SNAPSHOT (object);

  g_free (self->id);
  g_free (self->name);
  g_clear_pointer (&self->date_time, g_date_time_unref);
  G_OBJECT_CLASS (imago_snapshot_parent_class)->finalize (object);
}

static void
imago_snapshot_class_init (ImagoSnapshotClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_snapshot_get_property;
  object_class->finalize = imago_snapshot_finalize;

  /**
   * ImagoSnapshot:id:
   *
   * The id of the snapshot, unique in its image; a decimal number if QEMU made it.
   *
   * Since: 1.0
   */
  properties[PROP_ID] = g_param_spec_string ("id", "Id", "The id of the snapshot", NULL, flags);

  /**
   * ImagoSnapshot:name:
   *
   * The name that somebody gave the snapshot. Names need not be unique.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] =
    g_param_spec_string ("name", "Name", "The name of the snapshot", NULL, flags);

  /**
   * ImagoSnapshot:disk-size:
   *
   * The size of the disk when the snapshot was made, in bytes.
   *
   * Since: 1.0
   */
  properties[PROP_DISK_SIZE] = g_param_spec_uint64 (
    "disk-size", "Disk size", "The size of the disk in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoSnapshot:vm-state-size:
   *
   * The size of the saved state of the machine, in bytes; 0 if only the disk was saved.
   *
   * Since: 1.0
   */
  properties[PROP_VM_STATE_SIZE] =
    g_param_spec_uint64 ("vm-state-size", "VM state size",
                         "The size of the state of the machine in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoSnapshot:vm-clock:
   *
   * How long the machine had been running, in nanoseconds.
   *
   * Since: 1.0
   */
  properties[PROP_VM_CLOCK] = g_param_spec_uint64 (
    "vm-clock", "VM clock", "How long the machine had been running, in nanoseconds", 0, G_MAXUINT64,
    0, flags);

  /**
   * ImagoSnapshot:date-usec:
   *
   * When the snapshot was made, in microseconds since 1970-01-01 00:00 UTC.
   *
   * Since: 1.0
   */
  properties[PROP_DATE_USEC] = g_param_spec_int64 (
    "date-usec", "Date", "When the snapshot was made, in microseconds since the epoch", G_MININT64,
    G_MAXINT64, 0, flags);

  /**
   * ImagoSnapshot:date-nanoseconds:
   *
   * The fraction of the second in which the snapshot was made, in nanoseconds.
   *
   * Since: 1.0
   */
  properties[PROP_DATE_NANOSECONDS] =
    g_param_spec_uint ("date-nanoseconds", "Date nanoseconds",
                       "The fraction of the second in nanoseconds", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoSnapshot:date-time:
   *
   * When the snapshot was made, in UTC.
   *
   * Since: 1.0
   */
  properties[PROP_DATE_TIME] = g_param_spec_boxed (
    "date-time", "Date and time", "When the snapshot was made", G_TYPE_DATE_TIME, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_snapshot_init (ImagoSnapshot *self)
{
}

/* The numbers come from a file. */
static gint64
date_in_usec (const ImgSnapshotInfo *info)
{
  const gint64 limit = G_MAXINT64 / G_USEC_PER_SEC - 1;
  const guint32 nanoseconds = MIN (info->date_nanoseconds, 999999999);

  return CLAMP (info->date_seconds, -limit, limit) * G_USEC_PER_SEC + nanoseconds / 1000;
}

/* NULL where GDateTime ends. */
static GDateTime *
date_time_of (const ImgSnapshotInfo *info)
{
  g_autoptr (GDateTime) second = g_date_time_new_from_unix_utc (info->date_seconds);

  return second != NULL ? g_date_time_add (second, info->date_nanoseconds / 1000) : NULL;
}

ImagoSnapshot *
imago_snapshot_new (const ImgSnapshotInfo *info)
{
  ImagoSnapshot *self = g_object_new (IMAGO_TYPE_SNAPSHOT, NULL);

  self->id = g_utf8_make_valid (info->id != NULL ? info->id : "", -1);
  self->name = g_utf8_make_valid (info->name != NULL ? info->name : "", -1);
  self->disk_size = info->disk_size;
  self->vm_state_size = info->vm_state_size;
  self->vm_clock = info->vm_clock_nanoseconds;
  self->has_icount = info->has_icount;
  self->icount = info->has_icount ? info->icount : 0;
  self->date_usec = date_in_usec (info);
  self->date_nanoseconds = info->date_nanoseconds;
  self->date_time = date_time_of (info);
  return self;
}

GListModel *
imago_snapshot_list_from_core (GPtrArray *infos)
{
  GListStore *list = g_list_store_new (IMAGO_TYPE_SNAPSHOT);

  for (guint i = 0; infos != NULL && i < infos->len; i++)
    {
      g_autoptr (ImagoSnapshot) snapshot = imago_snapshot_new (g_ptr_array_index (infos, i));

      g_list_store_append (list, snapshot);
    }
  return G_LIST_MODEL (list);
}

/**
 * imago_snapshot_get_id:
 * @self: an #ImagoSnapshot
 *
 * Gets the id of the snapshot, which is unique in its image. #ImagoOpenOptions:snapshot takes it.
 * Bytes that are not UTF-8 are replaced.
 *
 * Returns: (transfer none): the id
 *
 * Since: 1.0
 */
const char *
imago_snapshot_get_id (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), NULL);

  return self->id;
}

/**
 * imago_snapshot_get_name:
 * @self: an #ImagoSnapshot
 *
 * Gets the name that somebody gave the snapshot. Names need not be unique. Bytes that are not UTF-8
 * are replaced.
 *
 * Returns: (transfer none): the name, which may be empty
 *
 * Since: 1.0
 */
const char *
imago_snapshot_get_name (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), NULL);

  return self->name;
}

/**
 * imago_snapshot_get_disk_size:
 * @self: an #ImagoSnapshot
 *
 * Gets the size that the disk had.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
guint64
imago_snapshot_get_disk_size (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), 0);

  return self->disk_size;
}

/**
 * imago_snapshot_get_vm_state_size:
 * @self: an #ImagoSnapshot
 *
 * Gets the size of the saved state of the machine.
 *
 * Returns: the size in bytes, 0 if only the disk was saved
 *
 * Since: 1.0
 */
guint64
imago_snapshot_get_vm_state_size (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), 0);

  return self->vm_state_size;
}

/**
 * imago_snapshot_get_vm_clock:
 * @self: an #ImagoSnapshot
 *
 * Gets how long the machine had been running.
 *
 * Returns: the time in nanoseconds
 *
 * Since: 1.0
 */
guint64
imago_snapshot_get_vm_clock (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), 0);

  return self->vm_clock;
}

/**
 * imago_snapshot_get_icount:
 * @self: an #ImagoSnapshot
 * @icount: (out) (optional): return location for the number, 0 if there is none
 *
 * Gets how many instructions the machine had executed, if that was counted.
 *
 * Returns: %TRUE if it was
 *
 * Since: 1.0
 */
gboolean
imago_snapshot_get_icount (ImagoSnapshot *self, guint64 *icount)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), FALSE);

  if (icount != NULL)
    *icount = self->icount;
  return self->has_icount;
}

/**
 * imago_snapshot_get_date_usec:
 * @self: an #ImagoSnapshot
 *
 * Gets when the snapshot was made.
 *
 * Returns: microseconds since 1970-01-01 00:00 UTC
 *
 * Since: 1.0
 */
gint64
imago_snapshot_get_date_usec (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), 0);

  return self->date_usec;
}

/**
 * imago_snapshot_get_date_nanoseconds:
 * @self: an #ImagoSnapshot
 *
 * Gets the fraction of the second in which the snapshot was made.
 *
 * Returns: the fraction in nanoseconds, as it stands in the image
 *
 * Since: 1.0
 */
guint
imago_snapshot_get_date_nanoseconds (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), 0);

  return self->date_nanoseconds;
}

/**
 * imago_snapshot_get_date_time:
 * @self: an #ImagoSnapshot
 *
 * Gets when the snapshot was made, in UTC and to the microsecond.
 *
 * Returns: (transfer none) (nullable): the time, or %NULL if it lies beyond what #GDateTime can
 *   hold
 *
 * Since: 1.0
 */
GDateTime *
imago_snapshot_get_date_time (ImagoSnapshot *self)
{
  g_return_val_if_fail (IMAGO_IS_SNAPSHOT (self), NULL);

  return self->date_time;
}
