/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A lock that may be held across I/O: whoever wants it meanwhile sleeps in img_park (), so a thread that
 * owns main-context storages goes on serving them. It is not recursive. Its holder is always running code,
 * never a request in a queue. */

#pragma once

#include "img-park.h"

G_BEGIN_DECLS

typedef struct
{
  ImgMutex mutex;
  GQueue waiting; /* of Waiter, in order of arrival */
  GThread *owner; /* NULL: free */
} ImgTurn;

void     img_turn_init     (ImgTurn *turn);
void     img_turn_clear    (ImgTurn *turn);
void     img_turn_take     (ImgTurn *turn);
/* Never waits. */
gboolean img_turn_try_take (ImgTurn *turn);
void     img_turn_give     (ImgTurn *turn);
/* For assertions: whether this thread has it. */
gboolean img_turn_is_mine  (ImgTurn *turn);

G_END_DECLS
