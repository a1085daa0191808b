/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "imago-error-private.h"

/**
 * SECTION:imago-error
 * @title: Errors
 * @short_description: The causes of failure that a caller can act on
 *
 * Errors of the library are of the domain #IMAGO_ERROR. Those of the operating system, and
 * cancellation, are of %G_IO_ERROR, and so are those of streams and files of GIO, such as
 * %G_IO_ERROR_NOT_MOUNTED or %G_IO_ERROR_HOST_NOT_FOUND: they come out as they went in. So do the errors of both
 * domains that a storage or a reference policy of the application answers with; of any other domain only the
 * text stays, and the code is %IMAGO_ERROR_FAILED.
 */

/**
 * imago_error_quark:
 *
 * Gets the domain of the errors that are the library's own. Errors of the operating system and
 * cancellation are reported in the %G_IO_ERROR domain instead.
 *
 * Returns: the quark that %IMAGO_ERROR stands for
 *
 * Since: 1.0
 */
/* clang-format off */
G_DEFINE_QUARK (imago-error-quark, imago_error)
/* clang-format on */

#define SAME_CODE(NAME) G_STATIC_ASSERT ((int) IMAGO_ERROR_##NAME == (int) IMG_CODE_##NAME)

SAME_CODE (FAILED);
SAME_CODE (UNKNOWN_FORMAT);
SAME_CODE (AMBIGUOUS_FORMAT);
SAME_CODE (CORRUPT);
SAME_CODE (UNSUPPORTED);
SAME_CODE (ENCRYPTED);
SAME_CODE (LIMIT_EXCEEDED);
SAME_CODE (REFERENCE_DENIED);
SAME_CODE (REFERENCE_LOOP);
SAME_CODE (REFERENCES_PENDING);
SAME_CODE (OUT_OF_RANGE);
SAME_CODE (NOT_REGULAR_FILE);
SAME_CODE (SNAPSHOT_NOT_FOUND);
SAME_CODE (NO_MEMORY);
SAME_CODE (CLOSED);
SAME_CODE (READ_ONLY);
SAME_CODE (LOCKED);
SAME_CODE (FLUSH_FAILED);
SAME_CODE (INVALID_OPTION);
SAME_CODE (WOULD_DEADLOCK);
SAME_CODE (METADATA_ONLY);
/* The last one of both: whoever adds a code comes by here. */
G_STATIC_ASSERT ((int) IMAGO_ERROR_METADATA_ONLY < (int) IMG_CODE_ERRNO);

void
imago_error_take (GError **error, ImgError *core_error)
{
  g_return_if_fail (core_error != NULL);

  switch (core_error->code)
    {
    case IMG_CODE_ERRNO:
      g_set_error_literal (error, G_IO_ERROR, g_io_error_from_errno (core_error->system_errno),
                           core_error->text);
      break;
    case IMG_CODE_FOREIGN:
      g_set_error_literal (error, G_IO_ERROR, core_error->foreign_code, core_error->text);
      break;
    case IMG_CODE_CANCELLED:
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, core_error->text);
      break;
    default:
      g_set_error_literal (error, IMAGO_ERROR, (int) core_error->code, core_error->text);
      break;
    }
  img_error_free (core_error);
}

/* Those that g_io_error_from_errno () leads back to: the core acts on some of them. */
static const struct
{
  GIOErrorEnum code;
  int system_errno;
} errnos[] = {
  { G_IO_ERROR_NOT_FOUND, ENOENT },
  { G_IO_ERROR_EXISTS, EEXIST },
  { G_IO_ERROR_IS_DIRECTORY, EISDIR },
  { G_IO_ERROR_NOT_DIRECTORY, ENOTDIR },
  { G_IO_ERROR_NOT_EMPTY, ENOTEMPTY },
  { G_IO_ERROR_FILENAME_TOO_LONG, ENAMETOOLONG },
  { G_IO_ERROR_TOO_MANY_LINKS, ELOOP },
  { G_IO_ERROR_NO_SPACE, ENOSPC },
  { G_IO_ERROR_INVALID_ARGUMENT, EINVAL },
  { G_IO_ERROR_PERMISSION_DENIED, EACCES },
  { G_IO_ERROR_NOT_SUPPORTED, ENOTSUP },
  { G_IO_ERROR_TIMED_OUT, ETIMEDOUT },
  { G_IO_ERROR_WOULD_BLOCK, EAGAIN },
  { G_IO_ERROR_BUSY, EBUSY },
  { G_IO_ERROR_READ_ONLY, EROFS },
  { G_IO_ERROR_TOO_MANY_OPEN_FILES, EMFILE },
  { G_IO_ERROR_BROKEN_PIPE, EPIPE },
  { G_IO_ERROR_NOT_CONNECTED, ENOTCONN },
  { G_IO_ERROR_CONNECTION_REFUSED, ECONNREFUSED },
  { G_IO_ERROR_HOST_UNREACHABLE, EHOSTUNREACH },
  { G_IO_ERROR_NETWORK_UNREACHABLE, ENETUNREACH },
  { G_IO_ERROR_ADDRESS_IN_USE, EADDRINUSE },
  { G_IO_ERROR_MESSAGE_TOO_LARGE, EMSGSIZE },
};

/* 0 if there is none. */
static int
errno_of (const GError *error)
{
  for (guint i = 0; i < G_N_ELEMENTS (errnos); i++)
    if (error->code == (int) errnos[i].code &&
        g_io_error_from_errno (errnos[i].system_errno) == errnos[i].code)
      return errnos[i].system_errno;
  return 0;
}

ImgError *
imago_error_to_core (const GError *error)
{
  ImgError *core_error = g_new0 (ImgError, 1);

  core_error->code = IMG_CODE_FAILED;
  if (error == NULL)
    {
      core_error->text = g_strdup (_("It failed without saying why"));
      return core_error;
    }
  core_error->text = g_strdup (error->message);
  if (error->domain == IMAGO_ERROR && error->code >= 0 && error->code <= (int) IMAGO_ERROR_METADATA_ONLY)
    core_error->code = (ImgCode) error->code;
  else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    core_error->code = IMG_CODE_CANCELLED;
  else if (error->domain == G_IO_ERROR)
    {
      core_error->code = errno_of (error) != 0 ? IMG_CODE_ERRNO : IMG_CODE_FOREIGN;
      core_error->system_errno = errno_of (error);
      core_error->foreign_code = error->code;
    }
  return core_error;
}
