/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How each asynchronous call of the public API is made, once, and what it works on. test-async.c does the rest, for
 * every one of them. */

#pragma once

#include "test-gate.h"
#include "test-images.h"

#define TEST_DISK_SIZE (1024 * 1024)
#define TEST_COUNT 1000

/* What is alive, counted by destroy notifies. */
typedef struct
{
  gint n_made;  /* atomic: objects and bytes the application has handed over */
  gint n_freed; /* atomic */
} TestLife;

/* What a call works on; each case gets its own. Nothing in it can be read or written without waiting. */
typedef struct
{
  TestLife life;
  char *folder;
  char *path; /* of a qcow2 image */
  GFile *file;
  ImgStorage *gate;
  ImagoStorage *storage; /* a face of the gate */
  ImagoImage *image;     /* on the storage */
  ImagoImage *deferred;  /* with its references pending */
  GFile *target;
  ImagoJob *job;
  ImgStorage *written;   /* memory that holds the disk */
  ImagoStorage *memory;  /* other memory */
  ImgStorage *memory_core;
  ImagoImage *disk;      /* a qcow2 image that can be written, with data in its first clusters */
  ImagoBatch *batch;     /* a read and a write of the disk */
  GBytes *bytes;         /* TEST_COUNT of them */
  GBytes *cluster;
} TestSubject;

typedef enum
{
  TEST_CALL_NONE = 0,
  /* A cancelled request is answered before a worker has come to it. */
  TEST_CALL_ABANDONS = 1 << 0,
  /* Done all the same when it is cancelled after its start. */
  TEST_CALL_GOES_ON = 1 << 1,
} TestCallFlags;

typedef struct
{
  const char *function; /* without its _async */
  const char *variant;  /* nullable: for a second way to call it */
  void (*start) (TestSubject *subject,
                 int io_priority,
                 GCancellable *cancellable,
                 GAsyncReadyCallback callback,
                 gpointer user_data);
  /* FALSE with an error, or TRUE with the result looked at. */
  gboolean (*finish) (TestSubject *subject, GAsyncResult *result, GError **error);
  TestCallFlags flags;
} TestCall;

extern const TestCall test_calls[];
extern const guint test_n_calls;

/* Those of a GInputStream and a GOutputStream that the library answers with its workers. */
extern const TestCall test_stream_calls[];
extern const guint test_n_stream_calls;

void     test_subject_init  (TestSubject *subject);
/* Lets go of everything the application holds: what is in flight goes on. */
void     test_subject_drop  (TestSubject *subject);
/* Whether nobody else has a reference either. */
gboolean test_subject_is_unused (TestSubject *subject);
/* Waits for that; each thing that was made is freed then, once. */
void     test_subject_clear (TestSubject *subject);
