/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How far a job is: a bar with the rate and the time left on a terminal, else what programs know from qemu-img. */

#pragma once

#include <imago-glib/imago-glib.h>
#include <stdio.h>

G_BEGIN_DECLS

typedef struct _ToolProgress ToolProgress;

/* @file: the standard output or error. */
ToolProgress *tool_progress_new    (ImagoJob *job, FILE *file) G_GNUC_WARN_UNUSED_RESULT;
/* Prints where the job is now, whether or not it moved. */
void          tool_progress_print  (ToolProgress *progress);
/* The last line; @complete if the job succeeded. */
void          tool_progress_finish (ToolProgress *progress, gboolean complete);
void          tool_progress_free   (ToolProgress *progress);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolProgress, tool_progress_free)

G_END_DECLS
