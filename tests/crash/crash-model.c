/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "crash-model.h"

#define CHUNK 128u /* sectors read at once */

/* ---- patterns ---- */

/* The value and the sector, again and again, which compresses well; and in the middle what tells of both. */
void
crash_pattern_fill (guint64 value, guint64 sector, guint8 *bytes)
{
  guint64 middle = (value * 0x9e3779b97f4a7c15u) ^ (sector * 0xbf58476d1ce4e5b9u);

  if (value == CRASH_VALUE_ZERO)
    {
      memset (bytes, 0, CRASH_SECTOR);
      return;
    }
  memcpy (bytes, &value, sizeof value);
  memcpy (bytes + sizeof value, &sector, sizeof sector);
  for (gsize done = 2 * sizeof value; done < CRASH_SECTOR; done *= 2)
    memcpy (bytes + done, bytes, done);
  memcpy (bytes + CRASH_SECTOR / 2, &middle, sizeof middle);
}

gboolean
crash_pattern_parse (const guint8 *bytes, guint64 *value, guint64 *sector)
{
  guint8 expected[CRASH_SECTOR];

  memcpy (value, bytes, sizeof *value);
  memcpy (sector, bytes + sizeof *value, sizeof *sector);
  crash_pattern_fill (*value, *sector, expected);
  return memcmp (bytes, expected, sizeof expected) == 0;
}

/* ---- changes ---- */

typedef struct
{
  guint64 value;   /* what it leaves; of a resize the size, and zeroes in what it cuts off */
  guint64 started;
  guint64 ended;   /* CRASH_NEVER while it runs */
  gboolean succeeded;
  gboolean replaces; /* nothing older is allowed any more */
  gboolean is_resize;
  gboolean is_undo; /* of a shrink that failed: not done, but what the disk says of itself */
} Change;

typedef struct
{
  guint64 started;
  guint64 ended;
} Flush;

struct _CrashModel
{
  CrashLog *log;
  ImgMutex mutex;
  guint64 n_sectors;
  guint64 n_backing;
  guint64 max_sectors;
  guint64 first_value;
  guint64 *initial; /* by sector; NULL: as in the backing image */
  GArray *changes;  /* of Change */
  GArray **sectors; /* of guint32, indices of changes; NULL: never changed */
  GArray *sizes;    /* of guint32 */
  GArray *flushes;  /* of Flush: those that were acknowledged */
  guint64 bitmaps_at; /* a time */
};

static guint32
add_change (CrashModel *model, guint64 value, gboolean replaces)
{
  Change change = {
    .value = value, .started = crash_log_tick (model->log), .ended = CRASH_NEVER, .replaces = replaces,
  };

  if (value == CRASH_NEVER)
    change.value = model->first_value + model->changes->len;
  g_array_append_val (model->changes, change);
  return model->changes->len - 1;
}

static Change *
get_change (CrashModel *model, guint32 index)
{
  return &g_array_index (model->changes, Change, index);
}

CrashModel *
crash_model_new (CrashLog *log, guint64 n_sectors, guint64 max_sectors, guint64 n_backing)
{
  CrashModel *model = g_new0 (CrashModel, 1);
  guint32 first;

  model->log = log;
  img_mutex_init (&model->mutex);
  model->n_sectors = n_sectors;
  model->max_sectors = max_sectors;
  model->n_backing = n_backing;
  model->first_value = CRASH_FIRST_VALUE;
  model->bitmaps_at = 1; /* before all changes */
  model->changes = g_array_new (FALSE, FALSE, sizeof (Change));
  model->sectors = g_new0 (GArray *, max_sectors);
  model->sizes = g_array_new (FALSE, FALSE, sizeof (guint32));
  model->flushes = g_array_new (FALSE, FALSE, sizeof (Flush));
  first = add_change (model, n_sectors, TRUE);
  *get_change (model, first) = (Change) { .value = n_sectors, .succeeded = TRUE, .replaces = TRUE, .is_resize = TRUE };
  g_array_append_val (model->sizes, first);
  return model;
}

void
crash_model_free (CrashModel *model)
{
  for (guint64 i = 0; i < model->max_sectors; i++)
    if (model->sectors[i] != NULL)
      g_array_unref (model->sectors[i]);
  g_free (model->sectors);
  g_free (model->initial);
  g_array_unref (model->changes);
  g_array_unref (model->sizes);
  g_array_unref (model->flushes);
  img_mutex_clear (&model->mutex);
  g_free (model);
}

guint64
crash_model_get_size (CrashModel *model)
{
  return model->n_sectors;
}

void
crash_model_set_size (CrashModel *model, guint64 n_sectors)
{
  g_assert (n_sectors <= model->max_sectors);
  model->n_sectors = n_sectors;
}

static guint64
initial_value (CrashModel *model, guint64 sector)
{
  if (model->initial != NULL)
    return model->initial[sector];
  return sector < model->n_backing ? CRASH_VALUE_BACKING : CRASH_VALUE_ZERO;
}

/* With the mutex held. */
static void
list_change (CrashModel *model, guint32 index, guint64 first, guint64 n_sectors)
{
  for (guint64 i = first; i < first + n_sectors; i++)
    {
      if (model->sectors[i] == NULL)
        model->sectors[i] = g_array_new (FALSE, FALSE, sizeof (guint32));
      g_array_append_val (model->sectors[i], index);
    }
}

guint64
crash_model_begin (CrashModel *model, CrashChangeKind kind, guint64 first, guint64 n_sectors)
{
  guint64 value = kind == CRASH_CHANGE_WRITE              ? CRASH_NEVER
                  : kind == CRASH_CHANGE_DISCARD_BACKING ? CRASH_VALUE_BACKING
                                                          : CRASH_VALUE_ZERO;
  guint32 index;

  g_assert (first + n_sectors <= model->max_sectors);
  img_mutex_lock (&model->mutex);
  index = add_change (model, value, kind != CRASH_CHANGE_DISCARD_ANY);
  list_change (model, index, first, n_sectors);
  img_mutex_unlock (&model->mutex);
  return model->first_value + index;
}

void
crash_model_end (CrashModel *model, guint64 change, gboolean succeeded)
{
  Change *found;

  img_mutex_lock (&model->mutex);
  found = get_change (model, (guint32) (change - model->first_value));
  found->ended = crash_log_tick (model->log);
  found->succeeded = succeeded;
  img_mutex_unlock (&model->mutex);
}

guint64
crash_model_begin_resize (CrashModel *model, guint64 n_sectors)
{
  guint32 index;

  g_assert (n_sectors <= model->max_sectors);
  img_mutex_lock (&model->mutex);
  index = add_change (model, n_sectors, TRUE);
  get_change (model, index)->is_resize = TRUE;
  g_array_append_val (model->sizes, index);
  if (n_sectors < model->n_sectors)
    list_change (model, index, n_sectors, model->n_sectors - n_sectors);
  model->n_sectors = n_sectors;
  img_mutex_unlock (&model->mutex);
  return model->first_value + index;
}

void
crash_model_undo_shrink (CrashModel *model, guint64 n_sectors)
{
  guint64 value = crash_model_begin_resize (model, n_sectors);
  Change *undo;

  crash_model_end (model, value, TRUE);
  img_mutex_lock (&model->mutex);
  undo = get_change (model, (guint32) (value - model->first_value));
  undo->is_undo = TRUE;
  for (guint i = model->sizes->len - 1; i > 0; i--)
    {
      Change *change = get_change (model, g_array_index (model->sizes, guint32, i - 1));

      if (change->succeeded && !change->is_undo)
        break;
      if (change->value > n_sectors)
        change->ended = undo->ended;
    }
  img_mutex_unlock (&model->mutex);
}

guint64
crash_model_begin_flush (CrashModel *model)
{
  return crash_log_tick (model->log);
}

void
crash_model_end_flush (CrashModel *model, guint64 started, gboolean succeeded)
{
  Flush flush = { started, 0 };

  if (!succeeded)
    return;
  img_mutex_lock (&model->mutex);
  flush.ended = crash_log_tick (model->log);
  g_array_append_val (model->flushes, flush);
  crash_log_mark (model->log);
  img_mutex_unlock (&model->mutex);
}

void
crash_model_set_bitmaps (CrashModel *model)
{
  model->bitmaps_at = crash_log_tick (model->log);
}

/* ---- what is allowed ---- */

CrashMoment
crash_model_at_bitmaps (CrashModel *model)
{
  return (CrashMoment) { model->bitmaps_at, model->bitmaps_at };
}

CrashMoment
crash_model_at_crash (CrashModel *model, guint64 time)
{
  CrashMoment moment = { 0, time };

  for (guint i = 0; i < model->flushes->len; i++)
    {
      const Flush *flush = &g_array_index (model->flushes, Flush, i);

      if (flush->ended < time)
        moment.settled = MAX (moment.settled, flush->started);
    }
  return moment;
}

/* When the last settled change of @list began. */
static guint64
last_settled (CrashModel *model, const GArray *list, CrashMoment moment)
{
  guint64 last = 0;

  for (guint i = 0; i < list->len; i++)
    {
      const Change *change = get_change (model, g_array_index (list, guint32, i));

      if (change->replaces && change->succeeded && change->ended < moment.settled)
        last = MAX (last, change->started);
    }
  return last;
}

static guint64
value_in (const GArray *list, CrashModel *model, const Change *change)
{
  return change->is_resize && list != model->sizes ? CRASH_VALUE_ZERO : change->value;
}

/* Whether @value is what a change of @list left, or @initial. */
static gboolean
is_allowed (CrashModel *model, const GArray *list, guint64 initial, CrashMoment moment, guint64 value)
{
  guint64 last;

  if (list == NULL)
    return value == initial;
  last = last_settled (model, list, moment);
  if (value == initial && last == 0)
    return TRUE;
  for (guint i = 0; i < list->len; i++)
    {
      const Change *change = get_change (model, g_array_index (list, guint32, i));

      if (value_in (list, model, change) == value && change->started < moment.now &&
          change->ended >= last)
        return TRUE;
    }
  return FALSE;
}

/* A discard to the backing image leaves zeroes behind the end of that image. */
static guint64
as_in_model (CrashModel *model, guint64 sector, guint64 value)
{
  const GArray *list = model->sectors[sector];

  if (value != CRASH_VALUE_ZERO || sector < model->n_backing || list == NULL)
    return value;
  for (guint i = 0; i < list->len; i++)
    if (get_change (model, g_array_index (list, guint32, i))->value == CRASH_VALUE_BACKING)
      return CRASH_VALUE_BACKING;
  return value;
}

static void
describe_changes (CrashModel *model, const GArray *list, GString *text)
{
  for (guint i = 0; list != NULL && i < list->len; i++)
    {
      const Change *change = get_change (model, g_array_index (list, guint32, i));

      g_string_append_printf (text, "\n#   %" G_GINT64_MODIFIER "x from %" G_GUINT64_FORMAT " to %"
                              G_GINT64_FORMAT "%s",
                              change->value, change->started, (gint64) change->ended,
                              change->succeeded ? "" : ", failed or unfinished");
    }
}

static char *
describe (CrashModel *model, CrashMoment moment, guint64 sector, const char *what)
{
  GString *text = g_string_new (NULL);

  g_string_printf (text, "sector %" G_GUINT64_FORMAT ": %s (settled %" G_GUINT64_FORMAT ", now %"
                   G_GUINT64_FORMAT "); initially %" G_GINT64_MODIFIER "x",
                   sector, what, moment.settled, moment.now, initial_value (model, sector));
  describe_changes (model, model->sectors[sector], text);
  return g_string_free (text, FALSE);
}

static char *
describe_size (CrashModel *model, CrashMoment moment, guint64 size)
{
  GString *text = g_string_new (NULL);

  g_string_printf (text, "the disk has %" G_GUINT64_FORMAT " bytes, %" G_GINT64_MODIFIER "x sectors (settled %"
                   G_GUINT64_FORMAT ", now %" G_GUINT64_FORMAT ")",
                   size, size / CRASH_SECTOR, moment.settled, moment.now);
  describe_changes (model, model->sizes, text);
  return g_string_free (text, FALSE);
}

/* With the mutex held. */
static char *
check_sector (CrashModel *model, CrashMoment moment, guint64 sector, const guint8 *bytes)
{
  g_autofree char *what = NULL;
  guint64 value, place;

  if (!crash_pattern_parse (bytes, &value, &place))
    return describe (model, moment, sector, "holds nothing that was ever written");
  if (value != CRASH_VALUE_ZERO && place != sector)
    {
      what = g_strdup_printf ("holds %" G_GINT64_MODIFIER "x of sector %" G_GUINT64_FORMAT, value,
                              place);
      return describe (model, moment, sector, what);
    }
  if (is_allowed (model, model->sectors[sector], initial_value (model, sector), moment, value) ||
      is_allowed (model, model->sectors[sector], initial_value (model, sector), moment,
                  as_in_model (model, sector, value)))
    return NULL;
  what = g_strdup_printf ("holds %" G_GINT64_MODIFIER "x, which it must not", value);
  return describe (model, moment, sector, what);
}

char *
crash_model_check_bytes (CrashModel *model,
                         CrashMoment moment,
                         guint64 first,
                         const guint8 *bytes,
                         guint64 n_sectors)
{
  char *problem = NULL;

  img_mutex_lock (&model->mutex);
  for (guint64 i = 0; i < n_sectors && problem == NULL; i++)
    problem = check_sector (model, moment, first + i, bytes + i * CRASH_SECTOR);
  img_mutex_unlock (&model->mutex);
  return problem;
}

static char *
check_size (CrashModel *model, CrashMoment moment, guint64 size)
{
  if (size % CRASH_SECTOR == 0 &&
      is_allowed (model, model->sizes, CRASH_NEVER, moment, size / CRASH_SECTOR))
    return NULL;
  return describe_size (model, moment, size);
}

static char *
check_range (CrashModel *model, CrashMoment moment, ImgImage *image, guint64 first, guint64 n_sectors)
{
  guint8 bytes[CHUNK * CRASH_SECTOR];
  ImgError *error = NULL;
  char *problem;

  if (img_image_read (image, first * CRASH_SECTOR, bytes, n_sectors * CRASH_SECTOR, NULL, &error))
    return crash_model_check_bytes (model, moment, first, bytes, n_sectors);
  problem = g_strdup_printf ("sector %" G_GUINT64_FORMAT " cannot be read: %s", first, error->text);
  img_error_free (error);
  return problem;
}

/* Chunks that nobody changed are all alike: one in so many is read. */
#define UNCHANGED_STRIDE 61

static gboolean
is_interesting (CrashModel *model, guint64 first, guint64 n_sectors)
{
  if (model->initial != NULL || first / CHUNK % UNCHANGED_STRIDE == 0)
    return TRUE;
  for (guint64 i = first; i < first + n_sectors; i++)
    if (model->sectors[i] != NULL)
      return TRUE;
  return FALSE;
}

char *
crash_model_check_image (CrashModel *model, CrashMoment moment, ImgImage *image)
{
  guint64 size = img_image_get_size (image);
  char *problem = check_size (model, moment, size);

  for (guint64 first = 0; first < size / CRASH_SECTOR && problem == NULL; first += CHUNK)
    {
      guint64 n = MIN (CHUNK, size / CRASH_SECTOR - first);

      if (is_interesting (model, first, n))
        problem = check_range (model, moment, image, first, n);
    }
  return problem;
}

/* Values of the work before must not look like those of the work to come. */
#define LATER_VALUE ((guint64) 1 << 32)

static char *
start_from_range (CrashModel *model, ImgImage *image, guint64 first, guint64 n_sectors)
{
  guint8 bytes[CHUNK * CRASH_SECTOR];
  ImgError *error = NULL;
  guint64 place;
  char *problem;

  if (!img_image_read (image, first * CRASH_SECTOR, bytes, n_sectors * CRASH_SECTOR, NULL, &error))
    {
      problem = g_strdup_printf ("sector %" G_GUINT64_FORMAT " cannot be read: %s", first,
                                 error->text);
      img_error_free (error);
      return problem;
    }
  for (guint64 i = 0; i < n_sectors; i++)
    if (!crash_pattern_parse (bytes + i * CRASH_SECTOR, &model->initial[first + i], &place))
      return g_strdup_printf ("sector %" G_GUINT64_FORMAT " holds nothing that was ever written",
                              first + i);
  return NULL;
}

char *
crash_model_start_from (CrashModel *model, ImgImage *image)
{
  char *problem = NULL;

  model->first_value = LATER_VALUE;
  model->n_sectors = img_image_get_size (image) / CRASH_SECTOR;
  model->initial = g_new0 (guint64, model->max_sectors);
  get_change (model, 0)->value = model->n_sectors;
  g_assert_cmpuint (model->n_sectors, <=, model->max_sectors);
  for (guint64 first = 0; first < model->n_sectors && problem == NULL; first += CHUNK)
    problem = start_from_range (model, image, first, MIN (CHUNK, model->n_sectors - first));
  return problem;
}
