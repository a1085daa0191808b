/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who changes which range of a disk: the arbiter of all requests that change a mapping.
 *
 * A claim is granted when no earlier claim that overlaps it is left, granted or not, so overlapping
 * claims go in the order of their arrival. A thread has one claim at a time and waits, while it has it,
 * for nothing but storages and turns: claims cannot close a circle. Reads and writes in place take none.
 */

#pragma once

#include "img-park.h"

G_BEGIN_DECLS

typedef struct
{
  ImgMutex mutex;
  GQueue claims; /* of ImgClaim, in order of arrival */
} ImgClaims;

/* Lives on the stack of the request. */
typedef struct
{
  guint64 offset;
  guint64 length;
  ImgParker *parker;
  GList link;
} ImgClaim;

void img_claims_init  (ImgClaims *claims);
void img_claims_clear (ImgClaims *claims);

void img_claim_take    (ImgClaims *claims, ImgClaim *claim, guint64 offset, guint64 length);
void img_claim_release (ImgClaims *claims, ImgClaim *claim);

G_END_DECLS
