/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-owner-queue.h"
#include "imago-reference.h"

G_BEGIN_DECLS

/* A reference that is only shown: answers to it go nowhere. @parent_name may be NULL. */
ImagoReference *imago_reference_new_shown      (const ImgWanted *wanted, const char *parent_name,
                                                guint depth) G_GNUC_WARN_UNUSED_RESULT;
/* @wanted: of ImgWanted, named by an image that the application opened as @parent_name. */
GListModel     *imago_reference_list_from_core (GPtrArray *wanted, const char *parent_name)
  G_GNUC_WARN_UNUSED_RESULT;

/* What the asker keeps: not the object, whose last reference may go without an answer. */
typedef struct _ImagoAnswer ImagoAnswer;

ImagoAnswer    *imago_answer_new               (void) G_GNUC_WARN_UNUSED_RESULT;
ImagoAnswer    *imago_answer_ref               (ImagoAnswer *self);
void            imago_answer_unref             (ImagoAnswer *self);
/* Before anybody can answer; @call is finished by the answer. */
void            imago_answer_set_call          (ImagoAnswer *self, ImagoOwnerCall *call);
/* Around the hook that is to answer: an answer given inside counts when the hook has returned. Takes @error. */
void            imago_answer_begin_hook        (ImagoAnswer *self);
void            imago_answer_end_hook          (ImagoAnswer *self, gboolean success, GError *error);
/* The verdict, for the asker; a question nobody answered is denied. @format_name is replaced if one was set. */
ImgStorage     *imago_answer_take              (ImagoAnswer *self, char **format_name,
                                                ImgError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A reference that is asked. */
ImagoReference *imago_reference_new_asked      (const ImgReference *core, ImagoAnswer *answer)
  G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImagoAnswer, imago_answer_unref)

G_END_DECLS
