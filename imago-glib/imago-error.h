/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-types.h>
#include <imago-glib/imago-version.h>

G_BEGIN_DECLS

/**
 * IMAGO_ERROR:
 *
 * The error domain of the library; its codes are #ImagoError.
 *
 * Since: 1.0
 */
#define IMAGO_ERROR (imago_error_quark ())

/**
 * ImagoError:
 * @IMAGO_ERROR_FAILED: something else went wrong
 * @IMAGO_ERROR_UNKNOWN_FORMAT: the file is of no format the library knows, not of the one asked for, or
 *   does not say of which format a file is that it refers to
 * @IMAGO_ERROR_AMBIGUOUS_FORMAT: the file matches more than one format
 * @IMAGO_ERROR_CORRUPT: the image contradicts itself or points outside its file
 * @IMAGO_ERROR_UNSUPPORTED: the image needs a feature or version that the library does not have; the
 *   message names it
 * @IMAGO_ERROR_ENCRYPTED: the image is encrypted; the message names the method
 * @IMAGO_ERROR_LIMIT_EXCEEDED: a number in the image is larger than any honest image needs
 * @IMAGO_ERROR_REFERENCE_DENIED: the reference policy did not grant a file that the image names
 * @IMAGO_ERROR_REFERENCE_LOOP: a chain of images leads back to itself
 * @IMAGO_ERROR_REFERENCES_PENDING: the image's references have not been opened yet
 * @IMAGO_ERROR_OUT_OF_RANGE: the range lies past the end of the disk
 * @IMAGO_ERROR_NOT_REGULAR_FILE: the file is a directory, device, FIFO or socket
 * @IMAGO_ERROR_SNAPSHOT_NOT_FOUND: the image has no snapshot of that id or name
 * @IMAGO_ERROR_NO_MEMORY: there is not enough memory for the metadata of the image
 * @IMAGO_ERROR_CLOSED: the image was closed
 * @IMAGO_ERROR_READ_ONLY: the image, or the storage below it, was not opened for writing
 * @IMAGO_ERROR_LOCKED: somebody else uses the file in a way that excludes this one; the message says how
 * @IMAGO_ERROR_FLUSH_FAILED: an earlier flush failed, so nothing more is written; open the image anew
 * @IMAGO_ERROR_INVALID_OPTION: an option has no meaning for the format, or contradicts another
 * @IMAGO_ERROR_WOULD_DEADLOCK: the hook of a storage made a blocking call that may wait for that very hook
 * @IMAGO_ERROR_METADATA_ONLY: the image was opened for its metadata alone, so its disk can be neither read nor written
 *
 * The causes of failure that a caller can act on. Errors of the operating system and cancellation are
 * reported in the #G_IO_ERROR domain.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_ERROR_FAILED,
  IMAGO_ERROR_UNKNOWN_FORMAT,
  IMAGO_ERROR_AMBIGUOUS_FORMAT,
  IMAGO_ERROR_CORRUPT,
  IMAGO_ERROR_UNSUPPORTED,
  IMAGO_ERROR_ENCRYPTED,
  IMAGO_ERROR_LIMIT_EXCEEDED,
  IMAGO_ERROR_REFERENCE_DENIED,
  IMAGO_ERROR_REFERENCE_LOOP,
  IMAGO_ERROR_REFERENCES_PENDING,
  IMAGO_ERROR_OUT_OF_RANGE,
  IMAGO_ERROR_NOT_REGULAR_FILE,
  IMAGO_ERROR_SNAPSHOT_NOT_FOUND,
  IMAGO_ERROR_NO_MEMORY,
  IMAGO_ERROR_CLOSED,
  IMAGO_ERROR_READ_ONLY,
  IMAGO_ERROR_LOCKED,
  IMAGO_ERROR_FLUSH_FAILED,
  IMAGO_ERROR_INVALID_OPTION,
  IMAGO_ERROR_WOULD_DEADLOCK,
  IMAGO_ERROR_METADATA_ONLY,
} ImagoError;

IMAGO_AVAILABLE_IN_1_0
GQuark imago_error_quark (void);

G_END_DECLS
