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

/* The hook takes the request that comes after @n others, and does not answer it before it lets go: with @error, or, if that is
 * NULL, by carrying it out. All on the thread that made the storage. */
void          test_carrier_hold           (TestCarrier *self, guint n);
gboolean      test_carrier_is_holding     (TestCarrier *self);
void          test_carrier_let_go         (TestCarrier *self, const GError *error);
/* It forgets the request instead. */
void          test_carrier_drop           (TestCarrier *self);

/* @func is called with each request, before it is handed on; NULL: no more. */
void          test_carrier_watch          (TestCarrier *self, GFunc func, gpointer data);

/* A storage in memory for it to carry, and all that is in a storage. */
ImagoStorage *test_memory_new             (GBytes *content);
GBytes       *test_storage_read_all       (ImagoStorage *storage);
