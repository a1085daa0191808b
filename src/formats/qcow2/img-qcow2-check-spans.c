/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-alloc.h"
#include "img-qcow2-check-spans.h"

#define PIECE IMG_MIB

/* Where tables begin or end. */
typedef struct
{
  guint64 offset;
  gint active;
  gint all;
} Edge;

ImgQcow2Spans *
img_qcow2_spans_new (void)
{
  return g_array_new (FALSE, FALSE, sizeof (Edge));
}

void
img_qcow2_spans_free (ImgQcow2Spans *spans)
{
  g_array_unref (spans);
}

void
img_qcow2_spans_add (ImgQcow2Spans *spans, guint64 offset, guint64 n_entries, gboolean is_active)
{
  Edge begin = { offset, is_active ? 1 : 0, 1 };
  Edge end = { offset + n_entries * sizeof (guint64), -begin.active, -begin.all };

  g_array_append_val (spans, begin);
  g_array_append_val (spans, end);
}

static gint
compare_edges (gconstpointer a, gconstpointer b)
{
  const Edge *left = a;
  const Edge *right = b;

  return (left->offset > right->offset) - (left->offset < right->offset);
}

typedef struct
{
  ImgStorage *storage;
  ImgQcow2SpanFunc func;
  gpointer data;
  ImgCancel *cancel;
  guint64 *entries;
} Walk;

static gboolean
walk_range (Walk *walk, guint64 offset, guint64 end, ImgQcow2Times times, ImgError **error)
{
  while (offset < end)
    {
      gsize length = (gsize) MIN (end - offset, PIECE);

      if (img_cancel_check (walk->cancel, error) ||
          !img_storage_read (walk->storage, offset, walk->entries, length, error) ||
          !walk->func (walk->data, offset, walk->entries, length / sizeof (guint64), times, error))
        return FALSE;
      offset += length;
    }
  return TRUE;
}

/* What a walk reads at once; most images are small. */
static gsize
get_longest_piece (ImgQcow2Spans *spans)
{
  guint64 longest = sizeof (guint64);

  for (guint i = 0; i + 1 < spans->len; i++)
    {
      const Edge *edge = &g_array_index (spans, Edge, i);

      longest = MAX (longest, edge[1].offset - edge[0].offset);
    }
  return (gsize) MIN (longest, PIECE);
}

gboolean
img_qcow2_spans_walk (ImgQcow2Spans *spans,
                      ImgStorage *storage,
                      guint64 end,
                      ImgQcow2SpanFunc func,
                      gpointer data,
                      ImgCancel *cancel,
                      ImgError **error)
{
  g_autoptr (ImgWords) buffer = NULL;
  Walk walk = { storage, func, data, cancel };
  ImgQcow2Times times = { 0, 0 };

  g_array_sort (spans, compare_edges);
  buffer = walk.entries = img_try_alloc (get_longest_piece (spans), error);
  if (buffer == NULL)
    return FALSE;
  end = img_align_up (end, sizeof (guint64));
  for (guint i = 0; i + 1 < spans->len; i++)
    {
      const Edge *edge = &g_array_index (spans, Edge, i);
      guint64 next = MIN (edge[1].offset, end);

      times.active += edge->active;
      times.all += edge->all;
      if (times.all > 0 && !walk_range (&walk, edge->offset, next, times, error))
        return FALSE;
    }
  return TRUE;
}
