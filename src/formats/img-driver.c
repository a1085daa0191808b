/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-driver.h"
#include "qcow2/img-qcow2.h"
#include "raw/img-raw.h"

/* ---- what a layout tells about itself ---- */

void
img_wanted_free (ImgWanted *wanted)
{
  if (wanted == NULL)
    return;
  g_free (wanted->name);
  g_free (wanted->format_name);
  g_free (wanted);
}

void
img_snapshot_info_free (ImgSnapshotInfo *info)
{
  if (info == NULL)
    return;
  g_free (info->id);
  g_free (info->name);
  g_free (info);
}

void
img_bitmap_info_free (ImgBitmapInfo *info)
{
  if (info == NULL)
    return;
  g_free (info->name);
  g_free (info);
}

void
img_description_clear (ImgDescription *description)
{
  g_free (description->compat);
  g_free (description->compression_type);
  g_free (description->encryption);
  g_free (description->luks);
  g_clear_pointer (&description->bitmaps, g_ptr_array_unref);
  memset (description, 0, sizeof *description);
}

void
img_findings_init (ImgFindings *findings)
{
  memset (findings, 0, sizeof *findings);
  findings->wanted = g_ptr_array_new_with_free_func ((GDestroyNotify) img_wanted_free);
  findings->unknown_features = g_ptr_array_new_with_free_func (g_free);
  findings->problems = g_ptr_array_new_with_free_func (g_free);
}

void
img_findings_clear (ImgFindings *findings)
{
  img_description_clear (&findings->description);
  g_clear_pointer (&findings->wanted, g_ptr_array_unref);
  g_clear_pointer (&findings->unknown_features, g_ptr_array_unref);
  g_clear_pointer (&findings->problems, g_ptr_array_unref);
}

/* ---- layouts ---- */

void
img_layout_init (ImgLayout *layout,
                 const ImgLayoutClass *klass,
                 const ImgDriver *driver,
                 ImgStorage *storage)
{
  layout->klass = klass;
  layout->driver = driver;
  layout->storage = img_storage_ref (storage);
  layout->wanted = g_ptr_array_new_with_free_func ((GDestroyNotify) img_wanted_free);
}

void
img_layout_finish (ImgLayout *layout)
{
  g_clear_pointer (&layout->storage, img_storage_unref);
  g_clear_pointer (&layout->wanted, g_ptr_array_unref);
}

void
img_layout_free (ImgLayout *layout)
{
  if (layout != NULL)
    layout->klass->free (layout);
}

/* ---- drivers ---- */

static const ImgDriver *const drivers[] = {
  &img_qcow2_driver,
  &img_raw_driver,
  NULL,
};

const ImgDriver *const *
img_drivers_get_all (void)
{
  return drivers;
}

const ImgDriver *
img_driver_find (const char *name)
{
  for (guint i = 0; drivers[i] != NULL; i++)
    if (strcmp (drivers[i]->name, name) == 0)
      return drivers[i];
  return NULL;
}

static gboolean
read_probe (ImgStorage *storage, guint8 *head, guint8 *tail, ImgProbe *probe, ImgError **error)
{
  guint64 size;

  if (!img_storage_get_size (storage, &size, error))
    return FALSE;
  *probe = (ImgProbe) {
    .head = head,
    .head_length = (gsize) MIN (size, IMG_PROBE_HEAD),
    .tail = tail,
    .tail_length = (gsize) MIN (size, IMG_PROBE_TAIL),
    .file_size = size,
  };
  return img_storage_read (storage, 0, head, probe->head_length, error) &&
         img_storage_read (storage, size - probe->tail_length, tail, probe->tail_length, error);
}

GPtrArray *
img_drivers_probe (ImgStorage *storage, ImgError **error)
{
  g_autofree guint8 *head = g_malloc (IMG_PROBE_HEAD);
  guint8 tail[IMG_PROBE_TAIL];
  GPtrArray *matches;
  ImgProbe probe;

  if (!read_probe (storage, head, tail, &probe, error))
    return NULL;
  matches = g_ptr_array_new ();
  for (guint i = 0; drivers[i] != NULL; i++)
    if (drivers[i]->probe != NULL && drivers[i]->probe (&probe))
      g_ptr_array_add (matches, (gpointer) drivers[i]);
  return matches;
}

static void
set_ambiguous_error (GPtrArray *matches, ImgError **error)
{
  g_autoptr (GString) names = g_string_new (NULL);

  for (guint i = 0; i < matches->len; i++)
    {
      const ImgDriver *driver = g_ptr_array_index (matches, i);

      g_string_append_printf (names, i > 0 ? ", %s" : "%s", driver->name);
    }
  img_error_set (error, IMG_CODE_AMBIGUOUS_FORMAT, _("The file matches more than one format: %s"),
                 names->str);
}

const ImgDriver *
img_drivers_guess (ImgStorage *storage, ImgError **error)
{
  g_autoptr (GPtrArray) matches = img_drivers_probe (storage, error);

  if (matches == NULL)
    return NULL;
  if (matches->len == 0)
    return img_driver_find ("raw");
  if (matches->len == 1)
    return g_ptr_array_index (matches, 0);
  set_ambiguous_error (matches, error);
  return NULL;
}
