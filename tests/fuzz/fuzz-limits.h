/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the code under test must not do, caught where it would do it: the linker leads the core's
 * calls of open (), openat (), syscall (), img_try_alloc () and img_free () through here (--wrap). */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Memory whose size comes from the image: one block and all that live at once. */
#define FUZZ_MAX_BLOCK ((gsize) 32 << 20)
#define FUZZ_MAX_LIVE ((gsize) 48 << 20)

/* @n_layers images may be open at once. */
void  fuzz_limits_begin    (guint n_layers);
/* Everything must have been released. */
void  fuzz_limits_end      (void);
/* Between the two, which nest, memory is the fuzzer's own and not counted. */
void  fuzz_limits_pause    (void);
void  fuzz_limits_resume   (void);
/* The most that was live at once since the program began. */
gsize fuzz_limits_get_peak (void);

G_END_DECLS
