/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The list of internal snapshots as text and as JSON. */

#pragma once

#include <imago-glib/imago-glib.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

void       tool_snapshots_print    (GListModel *snapshots);
JsonArray *tool_snapshots_describe (GListModel *snapshots) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
