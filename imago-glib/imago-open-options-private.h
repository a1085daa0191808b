/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-open-options.h"

G_BEGIN_DECLS

/* Borrowed from @self, which may be NULL in all of them. */
const char           *imago_open_options_get_format_name        (ImagoOpenOptions *self);
const char           *imago_open_options_get_snapshot           (ImagoOpenOptions *self);
ImagoReferencePolicy *imago_open_options_get_reference_policy   (ImagoOpenOptions *self);
gboolean              imago_open_options_get_defer_references   (ImagoOpenOptions *self);
gboolean              imago_open_options_get_allow_device       (ImagoOpenOptions *self);
guint64               imago_open_options_get_metadata_cache_size (ImagoOpenOptions *self);
guint64               imago_open_options_get_decoded_cache_size (ImagoOpenOptions *self);
guint                 imago_open_options_get_max_depth          (ImagoOpenOptions *self);
guint                 imago_open_options_get_max_files          (ImagoOpenOptions *self);

/* Everything but the driver, which stays NULL: whoever opens finds or guesses it. The strings in @out are
 * borrowed from @self. */
void                  imago_open_options_fill                   (ImagoOpenOptions *self,
                                                                 ImgImageOptions *out);

G_END_DECLS
