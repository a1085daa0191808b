/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Work on an image that lies on logged disks, with the model told of every step; and the verdict over what
 * a power cut leaves of it. */

#pragma once

#include "crash-image.h"
#include "crash-model.h"
#include "crash-random.h"
#include "crash-states.h"

G_BEGIN_DECLS

typedef enum
{
  CRASH_OP_WRITE,           /* any range; often whole clusters */
  CRASH_OP_WRITE_PART,      /* some sectors inside one cluster: the rest is copied */
  CRASH_OP_ZERO,
  CRASH_OP_ZERO_UNMAP,
  CRASH_OP_DISCARD_ANY,
  CRASH_OP_DISCARD_ZERO,
  CRASH_OP_DISCARD_BACKING, /* whole clusters */
  CRASH_OP_WRITE_COMPRESSED, /* whole clusters; fails where there is content already */
  CRASH_OP_FLUSH,
  CRASH_OP_RESIZE,          /* grows by a cluster, up to the largest size; each time another preallocation */
  CRASH_OP_SHRINK,          /* by up to three clusters */
  CRASH_OP_REOPEN,          /* closes and opens; alone */
  CRASH_OP_READ,            /* and checks what comes */
  CRASH_OP_COMMIT,          /* whole clusters move into the backing image, where that is written; alone */
  CRASH_N_OPS,
} CrashOp;

typedef struct
{
  const CrashGeometry *geometry;
  guint64 seed;
  CrashLog *log;
  CrashModel *model;
  ImgStorage *disks[CRASH_MAX_DISKS];
  ImgStorage *carriers[CRASH_MAX_DISKS]; /* borrowed: the image is opened on these, if they are set, which lie on the disks */
  ImgImage *image;        /* NULL after a reopen that failed */
  gint n_clusters;        /* atomic: those that may be used now */
  gboolean may_fail;      /* faults are injected */
  gboolean may_leak;      /* the image was not closed once, or a fault was injected */
  gboolean keeps_size;    /* random steps do not change the size */
  gboolean races;         /* the size changes and the image is closed while others use it: they may be too late */
  guint n_grown;          /* that modulo 4 is the preallocation of the next growth */
  gboolean churns;        /* whole clusters are written, read, discarded and flushed, and little else is done */
  gint n_done[CRASH_N_OPS];
  gint n_failed[CRASH_N_OPS];
} CrashWork;

/* An empty image, open for writing, the log running. */
void        crash_work_init   (CrashWork *work, const CrashGeometry *geometry, guint64 seed);
/* Closes the image if it is open. */
void        crash_work_clear  (CrashWork *work);

const char *crash_op_get_name (CrashOp op);

/* The range is in sectors; ignored where the operation has none. FALSE only with may_fail, or where a compressed
 * write finds content. */
gboolean    crash_work_do     (CrashWork *work, CrashOp op, guint64 first, guint64 n_sectors);
/* An operation drawn from @random; those that change the size and REOPEN only if @alone. */
gboolean    crash_work_step   (CrashWork *work, CrashRandom *random, gboolean alone);
void        crash_work_steps  (CrashWork *work, CrashRandom *random, guint n_steps);
/* @n_threads threads of @n_steps steps each, at once, in an order drawn from @seed. Returns the trace. */
guint64     crash_work_at_once (CrashWork *work, guint n_threads, guint n_steps, guint64 seed);
/* The same, while another thread changes the size and a last one closes the image in the midst of it. The image is
 * open again afterwards. */
void        crash_work_race   (CrashWork *work, guint n_threads, guint n_steps, guint64 seed);

/* The parts of it, for a test that does the operations in another way. RESIZE and SHRINK lead to a size, perhaps the
 * one there is; afterwards, worked or not, the new one is looked up. */
CrashOp     crash_work_pick   (CrashWork *work, CrashRandom *random, gboolean alone, guint64 *first,
                               guint64 *n_sectors);
CrashChangeKind crash_work_get_kind (CrashWork *work, CrashOp op);
guint64     crash_work_resize_target (CrashWork *work, CrashOp op);
void        crash_work_follow_size (CrashWork *work);
void        crash_work_assert_closed_well (CrashWork *work);

/* A close counts as a flush, and leaves no leak. The image is gone afterwards, whether it worked or not. */
gboolean    crash_work_close  (CrashWork *work);
/* FALSE only with may_fail. */
gboolean    crash_work_open   (CrashWork *work);

/* What the image is now must be what the model allows; NULL if so. */
char       *crash_work_check  (CrashWork *work) G_GNUC_WARN_UNUSED_RESULT;

/* The tables of what lies on @disks: by the library's check and by the tests' own. */
char       *crash_check_metadata (const CrashGeometry *geometry, CrashPages *const *disks, gboolean *leaks)
  G_GNUC_WARN_UNUSED_RESULT;
/* What an image that lies on @disks shows, opened for reading; and its snapshot. */
char       *crash_check_content (const CrashGeometry *geometry, CrashPages *const *disks,
                                 CrashModel *model, CrashMoment moment)
  G_GNUC_WARN_UNUSED_RESULT;
/* Its metadata and its content. @leaks is nullable. */
char       *crash_check_disks   (const CrashGeometry *geometry, CrashPages *const *disks,
                                 CrashModel *model, CrashMoment moment, gboolean *leaks)
  G_GNUC_WARN_UNUSED_RESULT;
/* Opens it for writing, starts from what is there, does @n_steps random operations, closes, checks. */
char       *crash_rewrite_disks (const CrashGeometry *geometry, CrashPages *const *disks,
                                 guint64 seed, guint n_steps)
  G_GNUC_WARN_UNUSED_RESULT;

typedef struct
{
  /* in */
  guint64 seed;
  guint64 max_states;  /* as in CrashStatesOptions */
  guint n_random;
  guint rewrite_every; /* each so manieth state is also written to; 0: none */
  gboolean stop_at_problem;
  /* Called for each state that is right, before it is written to. Nullable. */
  void (*visit) (const CrashState *state, const CrashGeometry *geometry, gpointer data);
  gpointer data;
  /* out */
  guint64 n_states;
  guint64 n_leaking;   /* states with leaked clusters */
  guint64 n_rewritten;
  guint64 n_wrong;
  char *problem;       /* the first */
} CrashVerdict;

/* Looks at the states of the log. */
void        crash_work_judge  (CrashWork *work, CrashVerdict *verdict);
/* Fails the test with the problem and @context, a line that tells how to repeat it. */
void        crash_verdict_assert (CrashVerdict *verdict, const char *format, ...)
  G_GNUC_PRINTF (2, 3);
void        crash_verdict_add   (CrashVerdict *sum, const CrashVerdict *verdict);
void        crash_verdict_clear (CrashVerdict *verdict);

G_END_DECLS
