/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-create-options.h"

G_BEGIN_DECLS

/* A copy of what the options say, in words of the core: a worker touches no object of the application. */
typedef struct
{
  ImgCreation creation; /* its strings are those below */
  char *path;
  char *backing_path;
  char *backing_name;
  char *backing_format;
  char *data_file_path;
} ImagoCreation;

/* @self may be NULL. NULL if a file is not local or the format is not known. */
ImagoCreation *imago_create_options_to_core (ImagoCreateOptions *self,
                                             GFile              *file,
                                             ImgError          **error) G_GNUC_WARN_UNUSED_RESULT;
void           imago_creation_free          (gpointer creation);

G_END_DECLS
