/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#define IMAGO_INSIDE

#include <imago-glib/imago-version.h>
#include <imago-glib/imago-types.h>
#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-error.h>
#include <imago-glib/imago-storage-request.h>
#include <imago-glib/imago-storage.h>
#include <imago-glib/imago-stream-storage.h>
#include <imago-glib/imago-file-storage.h>
#include <imago-glib/imago-memory-storage.h>
#include <imago-glib/imago-null-storage.h>
#include <imago-glib/imago-window-storage.h>
#include <imago-glib/imago-format.h>
#include <imago-glib/imago-reference.h>
#include <imago-glib/imago-reference-policy.h>
#include <imago-glib/imago-open-options.h>
#include <imago-glib/imago-create-options.h>
#include <imago-glib/imago-extent.h>
#include <imago-glib/imago-snapshot.h>
#include <imago-glib/imago-batch.h>
#include <imago-glib/imago-bitmap.h>
#include <imago-glib/imago-key-slot.h>
#include <imago-glib/imago-encryption-info.h>
#include <imago-glib/imago-image-info.h>
#include <imago-glib/imago-image.h>
#include <imago-glib/imago-inspection.h>
#include <imago-glib/imago-job.h>
#include <imago-glib/imago-commit-job.h>
#include <imago-glib/imago-convert-plan.h>
#include <imago-glib/imago-convert-job.h>
#include <imago-glib/imago-rebase-job.h>
#include <imago-glib/imago-resize-job.h>
#include <imago-glib/imago-compare-job.h>
#include <imago-glib/imago-measurement.h>
#include <imago-glib/imago-measure-job.h>
#include <imago-glib/imago-compact-job.h>
#include <imago-glib/imago-check-message.h>
#include <imago-glib/imago-check-result.h>
#include <imago-glib/imago-check-job.h>
#include <imago-glib/imago-enum-types.h>

#undef IMAGO_INSIDE
