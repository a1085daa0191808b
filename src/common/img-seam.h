/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Seams: circumstances that a test cannot bring about on the machine it runs on. Like mutants (img-mutant.h) they
 * exist in the test build of the core only; a seam is not a rule that is broken but a host that is another. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  IMG_SEAM_FILES_ARE_DEVICES, /* what is to be created over a regular file is created as over a block device */
  IMG_SEAM_LOCK_ERRNO,        /* its value: what the kernel answers whoever locks a byte */
  IMG_SEAM_PROBE_ERRNO,       /* … whoever asks about one */
  IMG_SEAM_FREE_KIB,          /* what is free where a file would be made: such a file system stores what it is given */
  IMG_SEAM_REFLINKS,          /* … unless it shares blocks of other files */
  IMG_SEAM_RING_ERRNO,        /* what the kernel answers whoever asks for an io_uring */
  IMG_SEAM_RING_ENTER_ERRNO,  /* … whoever gives one many reads */
  IMG_SEAM_HASTE,             /* idle threads of prefetches go at once */
  IMG_N_SEAMS
} ImgSeam;

#ifdef IMG_TEST_BUILD

int  img_seam_get (ImgSeam seam); /* 0: the host is what it is */
void img_seam_set (ImgSeam seam, int value);

#else

#define img_seam_get(seam) (0)

#endif

#define img_seam_is_on(seam) (img_seam_get (seam) != 0)

G_END_DECLS
