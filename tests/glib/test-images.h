/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Small qcow2 images made by hand, so that tests depend on no other program and know every byte. */

#pragma once

#include <gio/gio.h>

#include "tests/unit/test-folder.h"

#define TEST_QCOW2_CLUSTER 65536

/* Where the fields of the header stand, for tests that spoil one. */
#define TEST_QCOW2_VERSION 4
#define TEST_QCOW2_SIZE 24
#define TEST_QCOW2_CRYPT 32
#define TEST_QCOW2_L1_SIZE 36
#define TEST_QCOW2_L1_OFFSET 40
#define TEST_QCOW2_N_SNAPSHOTS 60
#define TEST_QCOW2_INCOMPATIBLE 72

typedef struct
{
  guint64 size;                /* of the disk; 0: 1 MiB */
  const char *backing;
  const char *backing_format;
  const char *data_file;
  guint64 incompatible;
} TestQcow2;

/* A qcow2 image of version 3 that has no data of its own. */
GByteArray *test_qcow2_new     (const TestQcow2 *what);
void        test_put_be32      (GByteArray *bytes, guint offset, guint32 value);
void        test_put_be64      (GByteArray *bytes, guint offset, guint64 value);
/* @size bytes that differ from each other and from those of another @seed. */
GByteArray *test_pattern_new   (gsize size, guint8 seed);

/* A path in a folder, to free. */
char       *test_path          (const char *folder, const char *name);
/* Takes @bytes. */
char       *test_write         (const char *folder, const char *name, GByteArray *bytes);
/* Takes @bytes. */
GBytes     *test_to_bytes      (GByteArray *bytes);

/* Runs a program and fails the test if it fails. FALSE, with the test skipped, if it is not installed. */
gboolean    test_run           (const char *program, ...) G_GNUC_NULL_TERMINATED;
