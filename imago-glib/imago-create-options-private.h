/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-create-options.h"
#include "imago-storage.h"

G_BEGIN_DECLS

/* A copy of what the options say, in words of the core: a worker touches no object of the application. */
typedef struct
{
  ImgCreation creation; /* its strings are those below; its image and storages are owned */
  char *path;
  char *backing_path;
  char *backing_name;
  char *backing_format;
  char *data_file_path;
  char *data_file_name;
} ImagoCreation;

/* For @file or @storage, one of which is NULL, as @self may be. NULL if a file is not local, the format is not known or
 * the backing image is closed. */
ImagoCreation *imago_create_options_to_core (ImagoCreateOptions *self,
                                             GFile              *file,
                                             ImagoStorage       *storage,
                                             ImgError          **error) G_GNUC_WARN_UNUSED_RESULT;
/* Borrowed; nullable, as @self may be. */
ImagoImage    *imago_create_options_get_backing_image (ImagoCreateOptions *self);
void           imago_creation_free          (gpointer creation);

G_END_DECLS
