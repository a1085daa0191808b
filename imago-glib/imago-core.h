/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The one door from the face to the core. */

#pragma once

#include "common/img-alloc.h"
#include "common/img-cancel.h"
#include "common/img-common.h"
#include "common/img-copy.h"
#include "common/img-iov.h"
#include "common/img-pool.h"
#include "common/img-turn.h"
#include "storage/img-storage.h"
#include "storage/img-file-storage.h"
#include "storage/img-simple-storages.h"
#include "formats/img-driver.h"
#include "image/img-create.h"
#include "image/img-image.h"
#include "image/img-policy.h"
#include "jobs/img-commit.h"
#include "jobs/img-compact-job.h"
#include "jobs/img-compare.h"
#include "jobs/img-convert.h"
#include "jobs/img-convert-plan.h"
#include "jobs/img-convert-stream.h"
#include "jobs/img-measure.h"
#include "jobs/img-rebase.h"
#include "jobs/img-rewrite.h"
