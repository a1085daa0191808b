/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Bytes on their way to the disk while a job still copies: a job that ends with a flush waits for what is left only.
 *
 * It says nothing about order and promises nothing, so no rule about what must be durable when depends on it. */

#pragma once

#include "img-image.h"

G_BEGIN_DECLS

typedef struct
{
  ImgImage *image;   /* borrowed; NULL: nobody will wait for the disk */
  guint64 n_written; /* atomic: bytes */
} ImgWriteBack;

/* After @length bytes have been written to the image; on any thread. */
void img_write_back_count (ImgWriteBack *write_back, guint64 length);

G_END_DECLS
