/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A storage as an application writes one: its hook hands every request on to another storage, by asynchronous calls in
 * its main context, and answers when those are answered. */

#pragma once

#include "imago-glib/imago-glib.h"

#define TEST_TYPE_CARRIER (test_carrier_get_type ())
G_DECLARE_FINAL_TYPE (TestCarrier, test_carrier, TEST, CARRIER, ImagoStorage)

ImagoStorage *test_carrier_new            (ImagoStorage *base);
/* How many requests the hook has been given. */
guint         test_carrier_get_n_requests (TestCarrier *self);
