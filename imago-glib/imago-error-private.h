/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Between the errors of the core and those of GLib: the only place where one becomes the other. */

#pragma once

#include "imago-core.h"
#include "imago-error.h"

G_BEGIN_DECLS

/* Takes @core_error, which must not be NULL; @error may be. */
void      imago_error_take    (GError **error, ImgError *core_error);

/* For an error that the application gave and that must travel through the core. Codes of IMAGO_ERROR stay
 * what they are, and so do those of G_IO_ERROR, as the errno that leads back to them where there is one; of
 * everything else the text stays. NULL: of something that failed and set none, as a stream of an application may. */
ImgError *imago_error_to_core (const GError *error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
