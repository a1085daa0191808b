/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying a disk chunk by chunk, on several threads, in bounded memory.
 *
 * A chunk goes through three hands. The source claims it: the next range of the disk and what is to be copied
 * in it, one chunk at a time, in the order of the disk. Any worker fills it: reads, decodes, encodes. The
 * target writes it: one chunk at a time in the order of the disk if what is written depends on what was
 * written before (a format that allocates), or if two writers would only be in each other's way (a file); else on the
 * worker that filled it.
 *
 * So the result depends on the source and the options and never on the number of threads. There are n_chunks
 * chunks, and no more memory than theirs and the workers'; where a worker needs much, there are fewer workers.
 * A worker waits only for chunks that other workers hold, and the holder of the first of them never waits: it can
 * always be written.
 */

#pragma once

#include "img-alloc.h"
#include "img-cancel.h"
#include "img-common.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_PIECE_COPY,
  IMG_PIECE_COPIED, /* was to be copied, and is in the target already; not in the data */
  IMG_PIECE_ZERO, /* reads as zero by the map */
  IMG_PIECE_HOLE, /* the source has nothing to say about it */
} ImgPieceKind;

typedef struct
{
  ImgPieceKind kind;
  guint64 offset;
  guint64 length;
} ImgPiece;

#define IMG_CHUNK_MAX_PIECES 256

typedef struct
{
  guint64 offset;  /* the pieces cover [offset, end) of the disk */
  guint64 end;
  guint64 n_copied; /* bytes of its COPY pieces: no more than the data has room for */
  ImgPiece pieces[IMG_CHUNK_MAX_PIECES];
  guint n_pieces;
  guint8 *data;    /* of the COPY pieces, one behind the other */
  guint8 *encoded; /* as large; NULL unless the target encodes */
  guint32 *encoded_lengths; /* of each unit of the data; 0: it is stored as it is */

  guint64 sequence; /* the pipeline's own */
} ImgChunk;

typedef struct
{
  /* FALSE at the end of the disk, or with an error. Never on two threads at once. */
  gboolean (*claim)  (gpointer source, ImgChunk *chunk, ImgCancel *cancel, ImgError **error);
  /* Reads chunk->data; on any thread. */
  gboolean (*fill)   (gpointer source, ImgChunk *chunk, ImgCancel *cancel, ImgError **error);
  /* Optional: the target's part that any thread may do. */
  gboolean (*encode) (gpointer target, ImgChunk *chunk, ImgError **error);
  gboolean (*write)  (gpointer target, ImgChunk *chunk, ImgCancel *cancel, ImgError **error);
} ImgPipelineClass;

typedef struct
{
  const ImgPipelineClass *klass;
  gpointer source;
  gpointer target;
  gboolean in_order;    /* write () is called in the order of the disk, never twice at once */
  gsize chunk_size;     /* bytes of data in one chunk */
  gsize encode_unit;    /* 0: nothing is encoded */
  gsize worker_memory;  /* bytes that each thread needs beside the chunks */
  guint n_threads;      /* 0: as many as processors */
  int priority;         /* G_PRIORITY_* of the work in the pool */
} ImgPipelineOptions;

/* Runs until the source ends or something fails; adds the copied bytes of each chunk that was written. */
gboolean  img_pipeline_run (const ImgPipelineOptions *options, ImgProgress *progress,
                            ImgCancel *cancel, ImgError **error);

ImgChunk *img_chunk_new    (gsize size, gsize encode_unit, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void      img_chunk_free   (ImgChunk *chunk);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgChunk, img_chunk_free)

G_END_DECLS
