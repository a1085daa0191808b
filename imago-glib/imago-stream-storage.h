/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-storage.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_STREAM_STORAGE (imago_stream_storage_get_type ())

IMAGO_DECLARE_INTERNAL_TYPE (ImagoStreamStorage, imago_stream_storage, IMAGO, STREAM_STORAGE, ImagoStorage)

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_stream_storage_new_for_input (GInputStream *stream) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_stream_storage_new_for_io (GIOStream *stream) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
