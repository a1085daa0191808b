/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The limit of a conversion: as many threads as processors read the source from a list of extents that is made before,
 * decode, look for zeroes and encode, with the calls and the parameters of the library; one at a time writes, in order.
 * No library, no checks, no refcounts, nothing flushed. The qcow2 file that comes out can be read by qemu-img, no more.
 *
 *   bench-bare-convert raw|qcow2|zlib|zstd SOURCE OUTPUT
 *
 * The source is raw or qcow2, with clusters of 64 KiB and the disk in the file itself. */

#include "bench-common.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "img-vector-state.h" /* inline, no library */

#define CLUSTER_BITS 16
#define CLUSTER_SIZE ((gsize) 1 << CLUSTER_BITS)
#define TABLE_ENTRIES (CLUSTER_SIZE / sizeof (guint64))
#define ZERO_GRAIN ((gsize) 4096)
#define PAGE ((gsize) 4096)
/* File systems keep what is written in larger folios if they get more at once. */
#define CHUNK_SIZE ((gsize) 1 << 20)
#define CHUNKS_PER_THREAD 3

#define QCOW2_MAGIC 0x514649fb
#define ZSTD_FEATURE 8

/* Entries of L2 tables. */
#define COPIED (G_GUINT64_CONSTANT (1) << 63)
#define COMPRESSED (G_GUINT64_CONSTANT (1) << 62)
#define SECTORS_SHIFT (62 - (CLUSTER_BITS - 8)) /* below: the offset */
#define READS_AS_ZERO 1
#define OFFSET_MASK G_GUINT64_CONSTANT (0x00fffffffffffe00)

typedef enum
{
  TO_RAW,
  TO_QCOW2,
  TO_ZLIB,
  TO_ZSTD,
} Target;

/* Data of the source that is in one piece there: one compressed cluster, or clusters as they are. */
typedef struct
{
  guint64 offset; /* on the disk */
  guint64 place;  /* in the source */
  guint length;   /* on the disk */
  guint stored;   /* bytes that hold it if it is compressed, else 0 */
} Extent;

typedef struct
{
  const Extent *extents;
  guint n_extents;
  guint8 *data;     /* of the extents, one behind the other */
  guint8 *encoded;  /* of the units that got shorter, one behind the other */
  guint32 *lengths; /* of each unit: 0 if it is zero, that of the unit if it is stored as it is, or what it became */
  gboolean filled;
} Chunk;

/* What a thread has. Nothing in this program is freed that is needed to its end. */
typedef struct
{
  struct libdeflate_decompressor *inflate;
  struct isal_zstream deflate;
  guint8 deflate_memory[ISAL_DEF_LVL2_SMALL];
  ZSTD_DCtx *zstd_decoder;
  ZSTD_CCtx *zstd_encoder;
  guint8 *stored;
} Codec;

typedef struct
{
  Target target;
  gsize unit; /* what is zero, or encoded, as a whole */
  int source, output;
  guint64 size;
  gboolean source_is_zstd;
  GArray *extents;

  GMutex mutex; /* of all that follows up to the output */
  GCond changed;
  Chunk *chunks; /* a ring, used again and again: pages that are new to a process are dear */
  guint n_chunks;
  guint n_claimed, n_written;
  guint next_extent;
  gboolean is_writing;

  /* Whoever writes. */
  guint64 *tables; /* L1, the refcount table, L2 */
  guint64 end;    /* of what the output has */
  const guint8 *run;
  gsize run_length;
  guint64 run_place;
} Pipeline;

/* The last sector of a compressed cluster may end behind the file. */
static void
read_all (int fd, void *data, gsize length, guint64 offset)
{
  for (gssize n = 1; length > 0 && n > 0; data = (guint8 *) data + n, length -= (gsize) n, offset += (guint64) n)
    if ((n = pread (fd, data, length, (off_t) offset)) < 0)
      bench_fail ("pread: %s", g_strerror (errno));
}

static void
write_all (int fd, const void *data, gsize length, guint64 offset)
{
  for (gssize n; length > 0; data = (const guint8 *) data + n, length -= (gsize) n, offset += (guint64) n)
    if ((n = pwrite (fd, data, length, (off_t) offset)) < 0)
      bench_fail ("pwrite: %s", g_strerror (errno));
}

/* ---- the list of extents ---- */

static void
add_extent (Pipeline *self, guint64 offset, guint64 place, guint64 length, guint stored)
{
  Extent *last = self->extents->len > 0 ? &g_array_index (self->extents, Extent, self->extents->len - 1) : NULL;

  if (stored == 0 && last != NULL && last->stored == 0 && last->offset + last->length == offset &&
      last->place + last->length == place && last->length + length <= CHUNK_SIZE)
    {
      last->length += (guint) length;
      return;
    }
  for (guint64 part; length > 0; offset += part, place += part, length -= part)
    {
      part = MIN (length, CHUNK_SIZE);
      g_array_append_val (self->extents, ((Extent){ offset, place, (guint) part, stored }));
    }
}

static void
list_raw (Pipeline *self)
{
  off_t begin, end = 0;

  self->size = (guint64) lseek (self->source, 0, SEEK_END);
  while ((begin = lseek (self->source, end, SEEK_DATA)) >= 0)
    {
      end = lseek (self->source, begin, SEEK_HOLE);
      begin -= begin % (off_t) CLUSTER_SIZE;
      end += -end & (off_t) (CLUSTER_SIZE - 1);
      add_extent (self, (guint64) begin, (guint64) begin, (guint64) (end - begin), 0);
    }
}

static void
add_entry (Pipeline *self, guint64 offset, guint64 entry)
{
  if (entry & COMPRESSED)
    {
      guint64 place = entry & ((G_GUINT64_CONSTANT (1) << SECTORS_SHIFT) - 1);
      guint64 n_sectors = ((entry & ~(COMPRESSED | COPIED)) >> SECTORS_SHIFT) + 1;

      add_extent (self, offset, place, CLUSTER_SIZE, (guint) (n_sectors * 512 - place % 512));
    }
  else if ((entry & OFFSET_MASK) != 0 && !(entry & READS_AS_ZERO))
    add_extent (self, offset, entry & OFFSET_MASK, CLUSTER_SIZE, 0);
}

static void
list_qcow2 (Pipeline *self, const guint64 *header)
{
  const guint32 *words = (const guint32 *) header;
  guint n_tables = GUINT32_FROM_BE (words[9]);
  g_autofree guint64 *l1 = g_new (guint64, n_tables);
  g_autofree guint64 *l2 = g_new (guint64, TABLE_ENTRIES);

  if (GUINT32_FROM_BE (words[1]) != 3 || GUINT32_FROM_BE (words[5]) != CLUSTER_BITS || header[1] != 0)
    bench_fail ("a qcow2 source must have version 3, clusters of 64 KiB and no backing file");
  self->size = GUINT64_FROM_BE (header[3]);
  self->source_is_zstd = (GUINT64_FROM_BE (header[9]) & ZSTD_FEATURE) != 0;
  read_all (self->source, l1, n_tables * sizeof *l1, GUINT64_FROM_BE (header[5]));
  for (guint i = 0; i < n_tables; i++)
    {
      guint64 place = GUINT64_FROM_BE (l1[i]) & OFFSET_MASK;

      if (place == 0)
        continue;
      read_all (self->source, l2, CLUSTER_SIZE, place);
      for (guint j = 0; j < TABLE_ENTRIES; j++)
        add_entry (self, (i * TABLE_ENTRIES + j) << CLUSTER_BITS, GUINT64_FROM_BE (l2[j]));
    }
}

static void
list_extents (Pipeline *self)
{
  guint64 header[10] = { 0 };

  self->extents = g_array_new (FALSE, FALSE, sizeof (Extent));
  read_all (self->source, header, sizeof header, 0);
  if (GUINT64_FROM_BE (header[0]) >> 32 == QCOW2_MAGIC)
    list_qcow2 (self, header);
  else
    list_raw (self);
  if (self->size % CLUSTER_SIZE != 0)
    bench_fail ("the disk must end with a whole cluster");
}

/* ---- decoding and encoding ---- */

static void
decode (Codec *codec, gboolean is_zstd, const guint8 *stored, gsize stored_length, guint8 *plain)
{
  gsize n_read, n_written;

  if (is_zstd)
    {
      /* The rest of the last sector is no frame. */
      stored_length = ZSTD_findFrameCompressedSize (stored, stored_length);
      if (ZSTD_isError (stored_length) ||
          ZSTD_decompressDCtx (codec->zstd_decoder, plain, CLUSTER_SIZE, stored, stored_length) != CLUSTER_SIZE)
        bench_fail ("a cluster cannot be decoded by zstd");
    }
  else if (libdeflate_deflate_decompress_ex (codec->inflate, stored, stored_length, plain, CLUSTER_SIZE, &n_read,
                                             &n_written) != LIBDEFLATE_SUCCESS || n_written != CLUSTER_SIZE)
    bench_fail ("a cluster cannot be inflated");
}

/* 0: it got no shorter. */
static gsize
encode_zstd (Codec *codec, const guint8 *plain, guint8 *stored)
{
  gsize length = ZSTD_compress2 (codec->zstd_encoder, stored, CLUSTER_SIZE - 1, plain, CLUSTER_SIZE);

  return ZSTD_isError (length) ? 0 : length;
}

/* As the library, which has its reasons: the first byte is a block of its own, and ISA-L's history. */
static gsize
encode_deflate (Codec *codec, const guint8 *plain, guint8 *stored)
{
  struct isal_zstream *stream = &codec->deflate;
  const guint8 first_block[] = { 0, 1, 0, 0xfe, 0xff, plain[0] };
  const gsize room = CLUSTER_SIZE - 1;
  int result;

  memcpy (stored, first_block, sizeof first_block);
  isal_deflate_init (stream);
  stream->level = 2;
  stream->level_buf = codec->deflate_memory;
  stream->level_buf_size = sizeof codec->deflate_memory;
  stream->hist_bits = 12;
  stream->end_of_stream = 1;
  isal_deflate_set_dict (stream, (guint8 *) plain, 1);
  stream->internal_state.b_bytes_valid = stream->internal_state.b_bytes_processed = 0;
  stream->next_in = (guint8 *) plain + 1;
  stream->avail_in = CLUSTER_SIZE - 1;
  stream->next_out = stored + sizeof first_block;
  stream->avail_out = room - sizeof first_block;
  result = isal_deflate (stream);
  img_vector_state_clear ();
  return result == COMP_OK && stream->internal_state.state == ZSTATE_END ? room - stream->avail_out : 0;
}

/* ---- filling a chunk ---- */

static void
read_extent (Pipeline *self, Codec *codec, const Extent *extent, guint8 *data)
{
  /* Some processors copy slowly to what lies a little ahead of the source, modulo a page. */
  gboolean is_plain = extent->stored == 0;
  guint8 *stored = codec->stored + extent->place % PAGE;

  read_all (self->source, is_plain ? data : stored, is_plain ? extent->length : extent->stored, extent->place);
  if (!is_plain)
    decode (codec, self->source_is_zstd, stored, extent->stored, data);
}

static void
fill (Pipeline *self, Codec *codec, Chunk *chunk)
{
  guint8 *data = chunk->data, *encoded = chunk->encoded;

  for (guint i = 0; i < chunk->n_extents; data += chunk->extents[i++].length)
    read_extent (self, codec, &chunk->extents[i], data);
  for (guint8 *plain = chunk->data; plain < data; plain += self->unit)
    {
      guint32 *length = &chunk->lengths[(gsize) (plain - chunk->data) / self->unit];
      gsize n = 0;

      *length = 0;
      if (plain[0] == 0 && memcmp (plain, plain + 1, self->unit - 1) == 0)
        continue;
      if (self->target >= TO_ZLIB)
        n = self->target == TO_ZLIB ? encode_deflate (codec, plain, encoded) : encode_zstd (codec, plain, encoded);
      *length = (guint32) (n > 0 ? n : self->unit);
      encoded += n;
    }
}

/* ---- writing a chunk ---- */

/* Makes the run longer, or writes it and begins another. */
static void
add_to_run (Pipeline *self, const guint8 *data, gsize length, guint64 place)
{
  if (self->run + self->run_length != data || self->run_place + self->run_length != place)
    {
      write_all (self->output, self->run, self->run_length, self->run_place);
      self->run = data;
      self->run_place = place;
      self->run_length = 0;
    }
  self->run_length += length;
}

/* Says in the table where @length bytes are that hold the cluster at @offset. */
static guint64
find_place (Pipeline *self, guint64 offset, gsize length)
{
  guint64 *entry, place;

  if (self->target == TO_RAW)
    return offset;
  if (length == CLUSTER_SIZE)
    self->end += -self->end & (CLUSTER_SIZE - 1);
  place = self->end;
  self->end += length;
  entry = &self->tables[2 * TABLE_ENTRIES + (offset >> CLUSTER_BITS)];
  if (length == CLUSTER_SIZE)
    *entry = GUINT64_TO_BE (place | COPIED);
  else
    *entry = GUINT64_TO_BE (place | (((self->end - 1) / 512 - place / 512) << SECTORS_SHIFT) | COMPRESSED);
  return place;
}

static void
write_chunk (Pipeline *self, const Chunk *chunk)
{
  const guint8 *data = chunk->data, *encoded = chunk->encoded;
  const guint32 *length = chunk->lengths;

  for (guint i = 0; i < chunk->n_extents; i++)
    for (guint64 done = 0; done < chunk->extents[i].length; done += self->unit, data += self->unit, length++)
      {
        const guint8 *bytes = *length == self->unit ? data : encoded;

        if (*length > 0)
          add_to_run (self, bytes, *length, find_place (self, chunk->extents[i].offset + done, *length));
        if (bytes == encoded)
          encoded += *length;
      }
  add_to_run (self, NULL, 0, 0);
}

/* No refcounts: the file can be read, not checked. */
static void
write_metadata (Pipeline *self)
{
  guint n_tables = (guint) ((self->size / CLUSTER_SIZE + TABLE_ENTRIES - 1) / TABLE_ENTRIES);
  guint64 place = self->end + (-self->end & (CLUSTER_SIZE - 1));
  guint64 is_zstd = self->target == TO_ZSTD;
  const guint64 header[14] = {
    GUINT64_TO_BE ((guint64) QCOW2_MAGIC << 32 | 3),
    [2] = GUINT64_TO_BE (CLUSTER_BITS),
    [3] = GUINT64_TO_BE (self->size),
    [4] = GUINT64_TO_BE (n_tables),
    [5] = GUINT64_TO_BE (place),
    [6] = GUINT64_TO_BE (place + CLUSTER_SIZE),
    [7] = GUINT64_TO_BE ((guint64) 1 << 32),
    [9] = GUINT64_TO_BE (is_zstd * ZSTD_FEATURE),
    [12] = GUINT64_TO_BE ((guint64) 4 << 32 | sizeof header),
    [13] = GUINT64_TO_BE (is_zstd << 56),
  };

  for (guint i = 0; i < n_tables; i++)
    self->tables[i] = GUINT64_TO_BE ((place + (2 + i) * CLUSTER_SIZE) | COPIED);
  write_all (self->output, header, sizeof header, 0);
  write_all (self->output, self->tables, (2 + n_tables) * CLUSTER_SIZE, place);
}

/* ---- the threads ---- */

/* As many extents as have room. */
static Chunk *
claim (Pipeline *self)
{
  Chunk *chunk = &self->chunks[self->n_claimed++ % self->n_chunks];
  gsize length = 0;

  chunk->extents = &g_array_index (self->extents, Extent, self->next_extent);
  chunk->n_extents = 0;
  while (self->next_extent < self->extents->len &&
         (length += chunk->extents[chunk->n_extents].length) <= CHUNK_SIZE)
    {
      chunk->n_extents++;
      self->next_extent++;
    }
  return chunk;
}

static void
work_on (Pipeline *self, Codec *codec, Chunk *first)
{
  Chunk *chunk;

  if (first->filled && !self->is_writing)
    {
      self->is_writing = TRUE;
      g_mutex_unlock (&self->mutex);
      write_chunk (self, first);
      g_mutex_lock (&self->mutex);
      self->is_writing = first->filled = FALSE;
      self->n_written++;
      g_cond_broadcast (&self->changed);
    }
  else if (self->next_extent < self->extents->len && self->n_claimed - self->n_written < self->n_chunks)
    {
      chunk = claim (self);
      g_mutex_unlock (&self->mutex);
      fill (self, codec, chunk);
      g_mutex_lock (&self->mutex);
      chunk->filled = TRUE;
      g_cond_broadcast (&self->changed);
    }
  else
    g_cond_wait (&self->changed, &self->mutex);
}

static gpointer
work_thread (gpointer data)
{
  Pipeline *self = data;
  Codec codec = {
    .inflate = libdeflate_alloc_decompressor (),
    .zstd_decoder = ZSTD_createDCtx (),
    .zstd_encoder = ZSTD_createCCtx (), /* its level is 3 already */
    .stored = aligned_alloc (PAGE, CLUSTER_SIZE + 2 * PAGE),
  };

  g_mutex_lock (&self->mutex);
  while (self->next_extent < self->extents->len || self->n_written < self->n_claimed)
    work_on (self, &codec, &self->chunks[self->n_written % self->n_chunks]);
  g_mutex_unlock (&self->mutex);
  return NULL;
}

static void
run (Pipeline *self)
{
  guint n_threads = g_get_num_processors ();
  g_autofree GThread **threads = g_new (GThread *, n_threads);

  self->n_chunks = CHUNKS_PER_THREAD * n_threads;
  self->chunks = g_new0 (Chunk, self->n_chunks);
  for (guint i = 0; i < self->n_chunks; i++)
    {
      self->chunks[i].data = aligned_alloc (PAGE, CHUNK_SIZE);
      self->chunks[i].encoded = aligned_alloc (PAGE, CHUNK_SIZE);
      self->chunks[i].lengths = g_new (guint32, CHUNK_SIZE / self->unit);
    }
  for (guint i = 0; i < n_threads; i++)
    threads[i] = g_thread_new ("bare", work_thread, self);
  for (guint i = 0; i < n_threads; i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  static const char *const targets[] = { "raw", "qcow2", "zlib", "zstd", NULL };
  Pipeline self = { .end = CLUSTER_SIZE };

  if (argc != 4 || !g_strv_contains (targets, argv[1]))
    bench_fail ("give raw, qcow2, zlib or zstd, a source and an output");
  while (strcmp (argv[1], targets[self.target]) != 0)
    self.target++;
  self.unit = self.target == TO_RAW ? ZERO_GRAIN : CLUSTER_SIZE;
  self.source = open (argv[2], O_RDONLY | O_CLOEXEC);
  self.output = open (argv[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (self.source < 0 || self.output < 0)
    bench_fail ("cannot open: %s", g_strerror (errno));

  list_extents (&self);
  if (self.target == TO_RAW && ftruncate (self.output, (off_t) self.size) != 0)
    bench_fail ("ftruncate: %s", g_strerror (errno));
  self.tables = g_new0 (guint64, self.size / CLUSTER_SIZE + 3 * TABLE_ENTRIES);
  run (&self);
  if (self.target != TO_RAW)
    write_metadata (&self);
  return 0;
}
