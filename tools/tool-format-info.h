/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a format tells of an image beyond what all formats do. */

#pragma once

#include <imago-glib/imago-glib.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* As it is in the JSON of "imago info"; NULL for formats without such things. */
JsonObject *tool_format_info_describe (ImagoImageInfo *info) G_GNUC_WARN_UNUSED_RESULT;
/* Nothing for those. */
void tool_format_info_print (ImagoImageInfo *info);

G_END_DECLS
