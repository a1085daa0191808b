/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Running a job, or making an image, for a person who may watch it or stop it. */

#pragma once

#include <imago-glib/imago-glib.h>
#include <stdio.h>

G_BEGIN_DECLS

/* Runs @job to its end, with its progress on the standard output if @shows_progress. SIGINT, SIGTERM
 * and SIGHUP cancel it; when it has cleaned up after itself, the program ends by that signal and this
 * does not return. SIGUSR1 prints how far it is. */
gboolean tool_job_run (ImagoJob *job, gboolean shows_progress, GError **error);
/* The same, with progress on @file (nullable). Then closes @image (nullable), which the job has written to, and all
 * below it, whether or not that went well: what they gave up is free only then. */
gboolean tool_job_run_writing (ImagoJob *job, ImagoImage *image, FILE *file, GError **error);

/* Creates an image and closes it; the same signals stop that. */
gboolean tool_create_image (GFile *file, ImagoCreateOptions *options, GError **error);

G_END_DECLS
