/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The error of the core: a code a caller can act on, the errno of a system call, a translated text.
 * imago-glib/ turns it into a GError in one place (imago-error.c). */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Codes up to IMG_CODE_ERRNO are ImagoError codes of the same name and value. */
typedef enum
{
  IMG_CODE_FAILED,
  IMG_CODE_UNKNOWN_FORMAT,
  IMG_CODE_AMBIGUOUS_FORMAT,
  IMG_CODE_CORRUPT,
  IMG_CODE_UNSUPPORTED,
  IMG_CODE_ENCRYPTED,
  IMG_CODE_LIMIT_EXCEEDED,
  IMG_CODE_REFERENCE_DENIED,
  IMG_CODE_REFERENCE_LOOP,
  IMG_CODE_REFERENCES_PENDING,
  IMG_CODE_OUT_OF_RANGE,
  IMG_CODE_NOT_REGULAR_FILE,
  IMG_CODE_SNAPSHOT_NOT_FOUND,
  IMG_CODE_NO_MEMORY,
  IMG_CODE_CLOSED,
  IMG_CODE_READ_ONLY,
  IMG_CODE_LOCKED,
  IMG_CODE_FLUSH_FAILED,
  IMG_CODE_INVALID_OPTION,
  IMG_CODE_WOULD_DEADLOCK,
  IMG_CODE_METADATA_ONLY,

  IMG_CODE_ERRNO = 1000, /* a system call failed: see system_errno */
  IMG_CODE_CANCELLED,
  IMG_CODE_FOREIGN, /* the application's: see foreign_code, which says nothing to the core */
} ImgCode;

typedef struct
{
  ImgCode code;
  int system_errno; /* for IMG_CODE_ERRNO */
  int foreign_code; /* for IMG_CODE_FOREIGN */
  char *text;
} ImgError;

void      img_error_set         (ImgError **error, ImgCode code, const char *format, ...)
  G_GNUC_PRINTF (3, 4);
/* The same, and returns FALSE. */
gboolean  img_error_refuse      (ImgError **error, ImgCode code, const char *format, ...)
  G_GNUC_PRINTF (3, 4);
void      img_error_set_errno   (ImgError **error, int system_errno, const char *format, ...)
  G_GNUC_PRINTF (3, 4);
void      img_error_prefix      (ImgError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);
void      img_error_propagate   (ImgError **destination, ImgError *source);
ImgError *img_error_copy        (const ImgError *error) G_GNUC_WARN_UNUSED_RESULT;
void      img_error_free        (ImgError *error);
void      img_error_clear       (ImgError **error);
gboolean  img_error_matches     (const ImgError *error, ImgCode code);

/* A name out of a file or from a user, quoted for a message: valid UTF-8, control bytes escaped. */
char     *img_quote_name        (const char *name) G_GNUC_WARN_UNUSED_RESULT;
/* Appends it so quoted to a list of names, which ends with "…" when it is long enough for a message. */
void      img_quote_append      (GString *list, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgError, img_error_free)

G_END_DECLS
