/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "imago-owner-queue.h"
#include "imago-storage-hook.h"
#include "imago-storage-private.h"
#include "imago-storage-request-private.h"

/* Zeroes are written in pieces of this length where the hook knows no better. */
#define ZERO_PIECE (1024 * 1024)
/* No device has this number: storages with a hook are told apart by an inode number of their own. */
#define HOOK_DEVICE G_MAXUINT64

typedef struct
{
  ImgRefCount ref_count;
  ImagoOwnerQueue *queue; /* NULL: thread-safe */
  ImgIdentity identity;
  gint n_taken;     /* atomic: requests that the hook was given and has not answered */
  gint cannot_zero; /* atomic */

  ImgMutex mutex; /* what follows */
  gboolean has_size;
  guint64 size;    /* while it is not known: it is at least that long */
  guint n_changes; /* of the size */
} HookState;

typedef struct
{
  ImgStorage parent;
  HookState *state;
  ImagoStorage *object;
  gboolean owns_object;
} HookStorage;

/* A hook that runs on this thread, inside of whichever ran before. */
typedef struct _HookFrame HookFrame;
struct _HookFrame
{
  HookState *state;
  HookFrame *outer;
};

static __thread HookFrame *frames;
static gint n_states_ever; /* atomic: no hook exists while it is 0 */

/* ---- what is shared ---- */

static HookState *
hook_state_new (gboolean thread_safe)
{
  HookState *state = g_new0 (HookState, 1);

  img_ref_init (&state->ref_count);
  img_mutex_init (&state->mutex);
  state->queue = thread_safe ? NULL : imago_owner_queue_new ();
  state->identity = (ImgIdentity) { HOOK_DEVICE, (guint64) g_atomic_int_add (&n_states_ever, 1) };
  return state;
}

static HookState *
hook_state_ref (HookState *state)
{
  img_ref_inc (&state->ref_count);
  return state;
}

static void
hook_state_unref (HookState *state)
{
  if (!img_ref_dec (&state->ref_count))
    return;
  g_clear_pointer (&state->queue, imago_owner_queue_unref);
  img_mutex_clear (&state->mutex);
  g_free (state);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (HookState, hook_state_unref)

static gboolean
is_inside_hook (const HookState *state)
{
  for (const HookFrame *frame = frames; frame != NULL; frame = frame->outer)
    if (frame->state == state)
      return TRUE;
  return FALSE;
}

static void
set_deadlock_error (ImgError **error)
{
  img_error_set (error, IMG_CODE_WOULD_DEADLOCK,
                 _("The call would wait for the storage whose hook is to run in this thread"));
}

/* ---- the size ---- */

/* Questions may be answered in another order than they were asked in, and before or after a change that is under way:
 * an answer counts only if nobody has known better since it was asked for. What makes the storage longer than it is known
 * to be at least makes all answers old; the first one that is not makes the size known, and from then on changes keep
 * account of it. */

/* FALSE if it is not known; @n_changes tells set_size () whether it is still the same question. */
static gboolean
get_known_size (HookState *state, guint64 *size, guint *n_changes)
{
  gboolean has_size;

  img_mutex_lock (&state->mutex);
  has_size = state->has_size;
  *size = state->size;
  *n_changes = state->n_changes;
  img_mutex_unlock (&state->mutex);
  return has_size;
}

/* FALSE: it is too late for this answer. */
static gboolean
set_size (HookState *state, guint64 size, guint n_changes)
{
  gboolean counts;

  img_mutex_lock (&state->mutex);
  counts = !state->has_size && state->n_changes == n_changes;
  if (counts)
    {
      state->has_size = TRUE;
      state->size = size;
    }
  img_mutex_unlock (&state->mutex);
  return counts;
}

/* After @io: how long the storage is now, or that nobody knows. */
static void
note_change (HookState *state, const ImgIo *io, gboolean success)
{
  guint64 end = io->offset + io->length;

  if (io->op == IMG_IO_READ || io->op == IMG_IO_DISCARD || io->op == IMG_IO_FLUSH)
    return;
  img_mutex_lock (&state->mutex);
  if (!success || io->op == IMG_IO_TRUNCATE || end > state->size)
    state->n_changes++;
  state->has_size &= success;
  if (io->op == IMG_IO_TRUNCATE)
    state->size = success ? io->offset : MIN (state->size, io->offset);
  else if (success)
    state->size = MAX (state->size, end);
  img_mutex_unlock (&state->mutex);
}

/* ---- one request of the engine ---- */

typedef enum
{
  TURN_ASKING,   /* the step is being started */
  TURN_STARTED,  /* whoever answers goes on */
  TURN_ANSWERED, /* whoever started it goes on */
} Turn;

/* References: one for whoever goes on, one for a step that is asked. */
typedef struct
{
  ImgRefCount ref_count;
  HookState *state;
  ImagoStorage *object; /* borrowed, as is io: until the request is complete */
  ImgIo *io;
  guint64 *size;              /* nullable: the answer is a size */
  struct iovec *iov;          /* owned; nullable: of a step whose memory is not the request's */
  ImagoStorageDemand demand;  /* the step */
  guint64 end;                /* of the range that the steps work through */
  gboolean writes_zeroes;     /* as bytes */
  gint turn;                  /* atomic, a Turn */
  ImagoOwnerCall *call;       /* owned; nullable: of the step */
  ImgError *error;            /* owned: the answer */
} HookOp;

static HookOp *
hook_op_ref (HookOp *op)
{
  img_ref_inc (&op->ref_count);
  return op;
}

static void
hook_op_unref (HookOp *op)
{
  if (!img_ref_dec (&op->ref_count))
    return;
  hook_state_unref (op->state);
  g_free (op->iov);
  g_free (op);
}

/* The last look at the request, and at the object. */
static void
complete (HookOp *op)
{
  ImgIo *io = g_steal_pointer (&op->io);

  if (op->size == NULL)
    note_change (op->state, io, op->error == NULL);
  img_io_complete (io, g_steal_pointer (&op->error));
}

/* ---- asking the hook ---- */

static void run_steps (HookOp *op);

/* GLib has this since 2.74 only. */
static Turn
exchange_turn (HookOp *op, Turn turn)
{
  return (Turn) __atomic_exchange_n (&op->turn, (gint) turn, __ATOMIC_ACQ_REL);
}

/* From whatever thread. */
static void
step_answered (gpointer data, guint64 size, ImgError *error)
{
  HookOp *op = data;
  g_autoptr (ImagoOwnerCall) call = g_steal_pointer (&op->call);

  op->error = error;
  if (op->size != NULL)
    *op->size = size;
  if (exchange_turn (op, TURN_ANSWERED) == TURN_STARTED)
    run_steps (op);
  if (call != NULL)
    imago_owner_call_finish (call);
  hook_op_unref (op);
}

static void
hook_answered (gpointer data, guint64 size, ImgError *error)
{
  g_atomic_int_add (&((HookOp *) data)->state->n_taken, -1);
  step_answered (data, size, error);
}

/* Takes a reference to @op. */
static void
ask (HookOp *op)
{
  g_autoptr (ImagoStorageRequest) request =
    imago_storage_request_new (&op->demand, hook_answered, op);
  HookFrame frame = { op->state, frames };
  GError *error = NULL;
  gboolean success;

  g_atomic_int_inc (&op->state->n_taken);
  frames = &frame;
  success = IMAGO_STORAGE_GET_CLASS (op->object)->submit (op->object, request, &error);
  frames = frame.outer;
  imago_storage_request_end_hook (request, success, error);
}

typedef struct
{
  HookOp *op;
  gboolean is_asked;
} Question;

static void
question_ask (ImagoOwnerCall *call, gpointer data)
{
  Question *question = data;

  question->is_asked = TRUE;
  ask (question->op);
}

static void
question_free (gpointer data)
{
  Question *question = data;
  ImgError *error = NULL;

  if (!question->is_asked)
    {
      img_error_set (&error, IMG_CODE_FAILED, _("The storage is gone"));
      step_answered (question->op, 0, error);
    }
  g_free (question);
}

static void
start_step (HookOp *op)
{
  g_autoptr (ImagoOwnerCall) call = NULL;
  Question *question;

  hook_op_ref (op);
  if (op->state->queue == NULL)
    {
      ask (op);
      return;
    }
  question = g_new0 (Question, 1);
  question->op = op;
  call = imago_owner_call_new (question_ask, question, question_free);
  op->call = imago_owner_call_ref (call);
  imago_owner_queue_push (op->state->queue, call);
}

/* ---- from step to step ---- */

static gboolean
is_unsupported (const ImgError *error)
{
  return error != NULL && error->code == IMG_CODE_ERRNO &&
         (error->system_errno == ENOTSUP || error->system_errno == EOPNOTSUPP);
}

static void
set_zero_piece (HookOp *op)
{
  static const guint8 zeroes[ZERO_PIECE];

  op->writes_zeroes = TRUE;
  if (op->iov == NULL)
    op->iov = g_new0 (struct iovec, 1);
  op->demand.operation = IMAGO_STORAGE_OPERATION_WRITE;
  op->demand.length = MIN (op->end - op->demand.offset, ZERO_PIECE);
  op->iov->iov_base = (gpointer) zeroes;
  op->iov->iov_len = (gsize) op->demand.length;
  op->demand.iov = op->iov;
  op->demand.n_iov = 1;
}

/* TRUE if there is another step after the answer to the last one. */
static gboolean
prepare_next (HookOp *op)
{
  gboolean was_zeroes = op->demand.operation == IMAGO_STORAGE_OPERATION_WRITE_ZEROES;

  if (op->writes_zeroes && op->error == NULL)
    {
      op->demand.offset += op->demand.length;
      if (op->demand.offset == op->end)
        return FALSE;
      set_zero_piece (op);
      return TRUE;
    }
  if (!is_unsupported (op->error))
    return FALSE;
  if (was_zeroes && !(op->io->flags & IMG_IO_NO_FALLBACK))
    {
      g_atomic_int_set (&op->state->cannot_zero, TRUE);
      set_zero_piece (op);
      img_error_clear (&op->error);
      return TRUE;
    }
  /* That space is kept harms nobody. */
  if (op->demand.operation == IMAGO_STORAGE_OPERATION_DISCARD)
    img_error_clear (&op->error);
  return FALSE;
}

/* Goes on until an answer is still out; then whoever gives it goes on. */
static void
run_steps (HookOp *op)
{
  while (g_atomic_int_get (&op->turn) != TURN_ANSWERED || prepare_next (op))
    {
      g_atomic_int_set (&op->turn, TURN_ASKING);
      start_step (op);
      if (exchange_turn (op, TURN_STARTED) != TURN_ANSWERED)
        return;
      g_atomic_int_set (&op->turn, TURN_ANSWERED);
    }
  complete (op);
  hook_op_unref (op);
}

/* ---- from the request to its first step ---- */

static HookOp *
hook_op_new (HookStorage *storage, ImgIo *io)
{
  HookOp *op = g_new0 (HookOp, 1);

  img_ref_init (&op->ref_count);
  op->state = hook_state_ref (storage->state);
  op->object = storage->object;
  op->io = io;
  op->demand.offset = io->offset;
  op->demand.length = io->length;
  op->demand.iov = io->iov;
  op->demand.n_iov = io->n_iov;
  op->end = io->offset + io->length;
  return op;
}

/* What lies past the end is zero; FALSE if nothing else is left. */
static gboolean
cut_read (HookOp *op, guint64 size)
{
  ImgIovCursor cursor = img_iov_cursor (op->io->iov, op->io->n_iov);
  gsize inside = op->demand.offset < size ? (gsize) MIN (op->demand.length, size - op->demand.offset) : 0;

  op->demand.operation = IMAGO_STORAGE_OPERATION_READ;
  if (inside == op->demand.length)
    return TRUE;
  if (inside > 0)
    {
      op->iov = g_new (struct iovec, op->io->n_iov);
      img_iov_cursor_slice (&cursor, inside, op->iov, op->io->n_iov, &op->demand.n_iov);
      op->demand.iov = op->iov;
    }
  img_iov_cursor_zero (&cursor, (gsize) op->demand.length - inside);
  op->demand.length = inside;
  return inside > 0;
}

/* Nobody knows how to reserve space; the storage grows as it would have. */
static gboolean
turn_into_growth (HookOp *op, guint64 size)
{
  op->demand.operation = IMAGO_STORAGE_OPERATION_TRUNCATE;
  op->demand.offset = op->end;
  op->demand.length = 0;
  return op->end > size;
}

static void
begin_zeroes (HookOp *op)
{
  op->demand.operation = IMAGO_STORAGE_OPERATION_WRITE_ZEROES;
  op->demand.zero_flags = (op->io->flags & IMG_IO_UNMAP ? IMAGO_ZERO_UNMAP : IMAGO_ZERO_NONE) |
                          (op->io->flags & IMG_IO_NO_FALLBACK ? IMAGO_ZERO_NO_FALLBACK : IMAGO_ZERO_NONE);
  if (g_atomic_int_get (&op->state->cannot_zero) && !(op->io->flags & IMG_IO_NO_FALLBACK))
    set_zero_piece (op);
}

/* FALSE if the hook need not be asked. @size: of the storage, where it matters. */
static gboolean
prepare_first (HookOp *op, guint64 size)
{
  switch (op->io->op)
    {
    case IMG_IO_READ:
      return cut_read (op, size);
    case IMG_IO_ALLOCATE:
      return turn_into_growth (op, size);
    case IMG_IO_ZERO:
      begin_zeroes (op);
      return TRUE;
    case IMG_IO_WRITE:
      op->demand.operation = IMAGO_STORAGE_OPERATION_WRITE;
      return TRUE;
    case IMG_IO_DISCARD:
      op->demand.operation = IMAGO_STORAGE_OPERATION_DISCARD;
      return TRUE;
    case IMG_IO_TRUNCATE:
      op->demand.operation = IMAGO_STORAGE_OPERATION_TRUNCATE;
      return TRUE;
    case IMG_IO_FLUSH:
      op->demand.operation = IMAGO_STORAGE_OPERATION_FLUSH;
      return TRUE;
    default:
      g_assert_not_reached ();
    }
}

/* ---- waiting ---- */

typedef struct
{
  ImgIo *ios;
  guint n_ios;
} WaitedFor;

static gboolean
poll_ios (gpointer data)
{
  WaitedFor *waited = data;

  return img_io_poll (waited->ios, waited->n_ios);
}

/* TRUE if this thread is the only one that can run the hooks; then it has, and all is answered. */
static gboolean
run_hooks_here (HookState *state, ImgIo *ios, guint n_ios)
{
  WaitedFor waited = { ios, n_ios };

  if (state->queue == NULL || !imago_owner_queue_is_here (state->queue))
    return FALSE;
  imago_owner_queue_run_until (state->queue, poll_ios, &waited);
  return TRUE;
}

/* Whether this thread can be spared while somebody else answers. */
static gboolean
check_spare (ImgError **error)
{
  if (!img_pool_begin_wait (error))
    return FALSE;
  img_pool_end_wait ();
  return TRUE;
}

static gboolean
check_thread (HookState *state, ImgError **error)
{
  if (!is_inside_hook (state))
    return check_spare (error);
  set_deadlock_error (error);
  return FALSE;
}

/* ---- the storage ---- */

static gboolean
query_size (HookStorage *storage, guint64 *size, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_FLUSH }; /* only to wait for */
  HookOp *op = hook_op_new (storage, &io);

  op->size = size;
  op->demand.operation = IMAGO_STORAGE_OPERATION_QUERY_SIZE;
  run_steps (op);
  if (!run_hooks_here (storage->state, &io, 1))
    img_io_wait (&io, 1);
  return img_io_collect (&io, 1, error);
}

static gboolean
hook_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  HookStorage *self = (HookStorage *) storage;
  guint n_changes;

  do
    {
      if (get_known_size (self->state, size, &n_changes))
        return TRUE;
      if (!check_thread (self->state, error) || !query_size (self, size, error))
        return FALSE;
    }
  while (!set_size (self->state, *size, n_changes));
  return TRUE;
}

static gboolean
check_request (HookStorage *self, const ImgIo *io, guint64 *size, ImgError **error)
{
  *size = 0;
  if (!check_thread (self->state, error))
    return FALSE;
  if (io->op == IMG_IO_READ || io->op == IMG_IO_ALLOCATE)
    return hook_get_size (&self->parent, size, error);
  if (img_range_fits (io->offset, io->length, IMG_MAX_SIZE))
    return TRUE;
  img_error_set_errno (error, EFBIG, _("The storage cannot grow that far"));
  return FALSE;
}

static void
start_request (HookStorage *self, ImgIo *io)
{
  ImgError *error = NULL;
  guint64 size;
  HookOp *op;

  if (io->flags & IMG_IO_NOWAIT)
    {
      img_io_complete_partly (io, 0);
      return;
    }
  if (!check_request (self, io, &size, &error))
    {
      img_io_complete (io, error);
      return;
    }
  op = hook_op_new (self, io);
  if (prepare_first (op, size))
    {
      run_steps (op);
      return;
    }
  complete (op);
  hook_op_unref (op);
}

static void
hook_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  HookStorage *self = (HookStorage *) storage;
  g_autoptr (HookState) state = hook_state_ref (self->state);

  for (guint i = 0; i < n_ios; i++)
    start_request (self, &ios[i]);
  run_hooks_here (state, ios, n_ios);
}

static gboolean
hook_get_identity (ImgStorage *storage, ImgIdentity *identity)
{
  *identity = ((HookStorage *) storage)->state->identity;
  return TRUE;
}

static gboolean
hook_may_wait (ImgStorage *storage, ImgError **error)
{
  HookState *state = ((HookStorage *) storage)->state;

  if (!is_inside_hook (state) && (state->queue == NULL || g_atomic_int_get (&state->n_taken) == 0 ||
                                  !imago_owner_queue_is_here (state->queue)))
    return TRUE;
  set_deadlock_error (error);
  return FALSE;
}

static void
hook_free (ImgStorage *storage)
{
  HookStorage *self = (HookStorage *) storage;

  if (self->owns_object && self->state->queue != NULL)
    imago_owner_queue_release (self->state->queue, self->object, g_object_unref);
  else if (self->owns_object)
    g_object_unref (self->object);
  hook_state_unref (self->state);
  g_free (self);
}

static const ImgStorageClass hook_class = {
  .type_name = "hook",
  .submit = hook_submit,
  .get_size = hook_get_size,
  .free = hook_free,
  .get_identity = hook_get_identity,
  .may_wait = hook_may_wait,
};

/* Takes @state. */
static ImgStorage *
make_core (ImagoStorage *object, HookState *state, const char *name, gboolean writable)
{
  HookStorage *self = g_new0 (HookStorage, 1);

  img_storage_init (&self->parent, &hook_class, name);
  self->parent.can_write = writable;
  self->parent.calls_out = TRUE;
  self->parent.may_hang = TRUE;
  self->state = state;
  self->object = object;
  return &self->parent;
}

ImgStorage *
imago_hook_storage_new (ImagoStorage *object, const char *name, gboolean writable, gboolean thread_safe)
{
  return make_core (object, hook_state_new (thread_safe), name, writable);
}

ImgStorage *
imago_hook_storage_keep (ImgStorage *core)
{
  HookStorage *self = (HookStorage *) core;
  ImgStorage *kept;

  if (core->klass != &hook_class)
    return img_storage_ref (core);
  kept = make_core (g_object_ref (self->object), hook_state_ref (self->state), core->name, core->can_write);
  ((HookStorage *) kept)->owns_object = TRUE;
  return kept;
}

void
imago_hook_storage_close (ImgStorage *core)
{
  HookStorage *self = (HookStorage *) core;

  if (core->klass == &hook_class && self->state->queue != NULL)
    imago_owner_queue_close (self->state->queue);
}

ImagoStorage *
imago_hook_storage_get_object (ImgStorage *core)
{
  return core->klass == &hook_class ? ((HookStorage *) core)->object : NULL;
}

/* ---- what may wait ---- */

gboolean
imago_hook_may_wait (ImgImage *image, ImgError **error)
{
  return G_LIKELY (g_atomic_int_get (&n_states_ever) == 0) || img_image_may_wait (image, error);
}

gboolean
imago_hook_may_wait_for_all (ImgError **error)
{
  if (frames == NULL)
    return TRUE;
  set_deadlock_error (error);
  return FALSE;
}
