/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-claims.h"

void
img_claims_init (ImgClaims *claims)
{
  *claims = (ImgClaims) { .claims = G_QUEUE_INIT };
  img_mutex_init (&claims->mutex);
}

void
img_claims_clear (ImgClaims *claims)
{
  g_assert (claims->claims.length == 0);
  img_mutex_clear (&claims->mutex);
}

static gboolean
overlaps (const ImgClaim *a, const ImgClaim *b)
{
  return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

/* With the mutex held. */
static gboolean
must_wait (const ImgClaim *claim)
{
  for (const GList *link = claim->link.prev; link != NULL; link = link->prev)
    if (overlaps (link->data, claim))
      return TRUE;
  return FALSE;
}

void
img_claim_take (ImgClaims *claims, ImgClaim *claim, guint64 offset, guint64 length)
{
  *claim = (ImgClaim) { offset, length, img_parker_current (), { .data = claim } };
  img_mutex_lock (&claims->mutex);
  g_queue_push_tail_link (&claims->claims, &claim->link);
  while (must_wait (claim))
    {
      img_mutex_unlock (&claims->mutex);
      img_park ();
      img_mutex_lock (&claims->mutex);
    }
  img_mutex_unlock (&claims->mutex);
}

void
img_claim_release (ImgClaims *claims, ImgClaim *claim)
{
  img_mutex_lock (&claims->mutex);
  for (GList *link = claim->link.next; link != NULL; link = link->next)
    if (overlaps (link->data, claim))
      img_unpark (((ImgClaim *) link->data)->parker);
  g_queue_unlink (&claims->claims, &claim->link);
  img_mutex_unlock (&claims->mutex);
}
