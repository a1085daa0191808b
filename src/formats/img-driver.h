/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A format: ImgDriver is what is known of it before a file is opened, ImgLayout one opened file.
 *
 * A layout never moves guest data. It answers where bytes are (map) and how stored bytes become plain
 * ones (decode); the engine in src/image does every transfer. It opens no other file either: it says
 * which references it wants and works with what it is given.
 *
 * Threads: map, decode and describe may be called from any thread at once.
 */

#pragma once

#include "img-check.h"
#include "img-create-options.h"
#include "img-epoch.h"
#include "img-luks-header.h"
#include "img-outline.h"
#include "img-progress.h"
#include "img-storage.h"

G_BEGIN_DECLS

typedef struct _ImgDriver ImgDriver;
typedef struct _ImgLayout ImgLayout;
typedef struct _ImgLayoutClass ImgLayoutClass;

/* ---- map ---- */

typedef enum
{
  IMG_EXTENT_HOLE,       /* not in this layer: ask the backing image */
  IMG_EXTENT_ZERO,       /* reads as zero, whatever is below */
  IMG_EXTENT_DATA,       /* plain bytes at storage:host_offset */
  IMG_EXTENT_COMPRESSED, /* one compressed unit: decode () it */
} ImgExtentKind;

typedef struct
{
  ImgExtentKind kind;
  gboolean has_host_offset; /* DATA always, ZERO and HOLE when the cluster is preallocated */
  guint64 offset;           /* guest; always the offset that was asked for */
  guint64 length;           /* > 0; never past what was asked for nor past the size of the disk */
  ImgStorage *storage;      /* borrowed from the layout: COMPRESSED, and all that has a host offset */
  guint64 host_offset;      /* of the first byte */

  /* COMPRESSED: the unit that holds the extent. Equal unit_host_offset means equal content. */
  guint64 unit_offset;      /* guest offset of its first byte */
  gsize unit_length;        /* bytes it decodes to: one cluster */
  guint64 unit_host_offset; /* its stored bytes */
  gsize unit_host_length;   /* an upper bound; the stream may end earlier */
} ImgExtent;

typedef enum
{
  IMG_MAP_OK,
  IMG_MAP_WOULD_BLOCK, /* only with IMG_MAP_TRY: metadata must be loaded first */
  IMG_MAP_ERROR,
} ImgMapResult;

typedef enum
{
  IMG_MAP_NONE = 0,
  IMG_MAP_TRY = 1 << 0, /* never wait and never do I/O; look at one table slice at most */
} ImgMapFlags;

/* ---- changing the map ----
 *
 * The engine asks for a plan, moves the bytes, and has the plan committed, or aborted when a transfer
 * failed. Nothing that a reader can see changes before the commit. A write in place has nothing to
 * commit. All else needs the range claimed (img-claims.h), rounded to write_granularity. */

typedef enum
{
  IMG_PREPARE_OK,
  IMG_PREPARE_CLAIM,       /* claim the range, then ask again */
  IMG_PREPARE_FLUSH,       /* flush the layout, then ask again */
  IMG_PREPARE_UNSUPPORTED, /* zeroes: for plan.length bytes the format has no such state */
  IMG_PREPARE_ERROR,
} ImgPrepareResult;

typedef enum
{
  IMG_WRITE_TRY,      /* what can be written in place, by metadata that is cached; else CLAIM. Never waits. */
  IMG_WRITE_IN_PLACE, /* what can be written in place; else CLAIM */
  IMG_WRITE_CLAIMED,
} ImgWriteMode;

/* What must be in the host bytes around those of the guest before the commit. */
typedef enum
{
  IMG_FILL_NONE,
  IMG_FILL_ZERO,
  IMG_FILL_COPY, /* what the guest sees there */
} ImgFill;

/* What the engine does at storage:host_offset. */
typedef enum
{
  IMG_TRANSFER_NONE,
  IMG_TRANSFER_WRITE,
  IMG_TRANSFER_ZERO,       /* keeping the space */
  IMG_TRANSFER_ZERO_UNMAP,
  IMG_TRANSFER_DISCARD,
} ImgTransferKind;

typedef struct
{
  guint64 offset;       /* guest; always what was asked for */
  guint64 length;       /* > 0; may be shorter than what was asked for */
  ImgTransferKind transfer;
  ImgStorage *storage;  /* borrowed from the layout */
  guint64 host_offset;  /* of the byte at offset */
  gsize head_length;    /* host bytes before host_offset to be filled */
  ImgFill head_fill;
  gsize tail_length;    /* … and behind the last one */
  ImgFill tail_fill;
  gboolean is_fresh;    /* the host range lies past the old end of the file: it reads as zero */
  gboolean needs_commit;

  /* the format's own */
  guint kind;
  guint64 first_cluster; /* host clusters that were taken for it */
  guint64 n_clusters;
  guint64 entry;
} ImgPlan;

typedef enum
{
  IMG_PUNCH_KEEP,    /* zero; what has space keeps it */
  IMG_PUNCH_UNMAP,   /* zero; space is given back */
  IMG_PUNCH_ANY,     /* anything it held before, or zero; space is given back */
  IMG_PUNCH_BACKING, /* the backing image shows through */
} ImgPunchMode;

/* ---- what a layout tells about itself ---- */

typedef enum
{
  IMG_REFERENCE_BACKING_FILE,
  IMG_REFERENCE_DATA_FILE,
} ImgReferenceRole;

typedef struct
{
  ImgReferenceRole role;
  char *name;        /* as stored in the image: not a path yet, not necessarily UTF-8, never with NUL */
  char *format_name; /* as stored; NULL if the image does not say */
} ImgWanted;

void img_wanted_free (ImgWanted *wanted);

typedef struct
{
  char *id;
  char *name;
  guint64 vm_state_size;
  guint64 disk_size;
  gint64 date_seconds; /* since the epoch */
  guint32 date_nanoseconds;
  guint64 vm_clock_nanoseconds;
  gboolean has_icount;
  guint64 icount;
} ImgSnapshotInfo;

void img_snapshot_info_free (ImgSnapshotInfo *info);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgSnapshotInfo, img_snapshot_info_free)

typedef struct
{
  char *name;
  guint64 granularity; /* bytes */
  gboolean in_use;
  gboolean is_auto;
} ImgBitmapInfo;

void img_bitmap_info_free (ImgBitmapInfo *info);

/* What a format says of one image beyond its size. Zero or NULL: does not apply. */
typedef struct
{
  guint64 cluster_size;         /* bytes */
  char *compat;                 /* qcow2: "0.10" or "1.1" */
  char *compression_type;       /* "zlib", "zstd" */
  char *encryption;             /* "aes", "luks"; NULL: not encrypted */
  ImgLuksInfo *luks;            /* owned; NULL: not encrypted so, or the header is damaged */
  guint refcount_bits;
  gboolean is_dirty;
  gboolean is_corrupt;
  gboolean has_lazy_refcounts;
  gboolean has_extended_l2;
  gboolean has_data_file;
  gboolean has_raw_data_file;
  gboolean has_unknown_parts;   /* that this library knows nothing of, and keeps */
  gboolean may_have_compressed; /* the format can hold compressed units */
  gboolean may_have_bitmaps;    /* the format can hold persistent bitmaps */
  GPtrArray *bitmaps;           /* of ImgBitmapInfo; NULL: none */
} ImgDescription;

void img_description_clear (ImgDescription *description);

/* The result of looking at one file without opening any other: filled even where open () would refuse. */
typedef struct
{
  guint64 virtual_size;
  ImgDescription description;
  GPtrArray *wanted;            /* of ImgWanted: references, in the order they would be opened */
  GPtrArray *unknown_features;  /* of char *: incompatible features by name */
  GPtrArray *problems;          /* of char *, translated: limits exceeded, damage seen */
  guint n_snapshots;
} ImgFindings;

void img_findings_init  (ImgFindings *findings);
void img_findings_clear (ImgFindings *findings);

/* ---- drivers ---- */

#define IMG_PROBE_HEAD 65536
#define IMG_PROBE_TAIL 1536

typedef struct
{
  const guint8 *head; /* the first head_length bytes of the file */
  gsize head_length;  /* min (file size, IMG_PROBE_HEAD) */
  const guint8 *tail; /* the last tail_length bytes */
  gsize tail_length;
  guint64 file_size;
} ImgProbe;

typedef enum
{
  IMG_DRIVER_NONE = 0,
  IMG_DRIVER_BACKING = 1 << 0,     /* images may have a backing file */
  IMG_DRIVER_DATA_FILE = 1 << 1,
  IMG_DRIVER_COMPRESSED = 1 << 2,
  IMG_DRIVER_SNAPSHOTS = 1 << 3,
  IMG_DRIVER_CREATE = 1 << 4,      /* the library can produce it */
  IMG_DRIVER_IDENTITY = 1 << 5,    /* the file is the disk */
} ImgDriverFlags;

typedef struct
{
  const char *snapshot;      /* id or name; NULL: the active disk */
  gsize metadata_cache_size; /* bytes; 0: the default */
  gboolean metadata_only;    /* the layout is to be described, not to be read; see ImgLayoutClass */
  gboolean writable;         /* the storage must be, too; an image that was not closed is repaired */
} ImgLayoutOptions;

/* What a new image takes in its files, beside and for what is on the disk. Bytes. */
typedef struct
{
  guint64 metadata;   /* with all of the disk allocated */
  guint64 disk_size;  /* in whole units */
  guint64 unit;       /* data takes whole ones */
  gboolean is_full;   /* units take their space with or without data */
  gboolean has_bitmaps;
} ImgFootprint;

struct _ImgDriver
{
  const char *name;  /* the word of the command line: "qcow2" */
  const char *title; /* untranslated, marked for translation */
  const char *const *mime_types;
  const char *const *suffixes;
  ImgDriverFlags flags;
  /* TRUE if the bytes say that the file is of this format. Raw never does: every file can be raw. */
  gboolean   (*probe)   (const ImgProbe *probe);
  /* Opens nothing but @storage. Fails only if the file is not of this format or cannot be read. */
  gboolean   (*inspect) (ImgStorage *storage, ImgFindings *findings, ImgCancel *cancel,
                         ImgError **error);
  ImgLayout *(*open)    (ImgStorage *storage, const ImgLayoutOptions *options, ImgCancel *cancel,
                         ImgError **error);
  /* Optional. Checks @options before anything is touched. Then writes all that makes an image, whatever
   * @storage held before, and at last, behind a flush, what makes it be one: a run that was interrupted
   * leaves nothing that could be taken for the new image. @data_storage: the data file; NULL unless the
   * options name one. Nothing is durable before both have been flushed. */
  gboolean   (*create)  (ImgStorage *storage, const ImgCreateOptions *options,
                         ImgStorage *data_storage, ImgCancel *cancel, ImgError **error);
  /* Optional: an image that is written in order. Copies @options and refuses those that cannot be
   * followed; they name no data file and reserve no space. @encodes: units will be encoded. */
  ImgOutline *(*outline) (const ImgCreateOptions *options, gboolean encodes, ImgError **error);
  /* Optional: how much room that would take. Names of files make no difference; of the options only those are
   * checked that the numbers depend on. */
  gboolean   (*measure) (const ImgCreateOptions *options, ImgFootprint *footprint, ImgError **error);
  /* Optional: the room for what @bitmaps, an array of ImgBitmapInfo, say of a disk of @disk_size bytes. */
  gboolean   (*measure_bitmaps) (const ImgFootprint *footprint, guint64 disk_size,
                                 const GPtrArray *bitmaps, guint64 *length, ImgError **error);
  /* Optional: counts what is wrong with the metadata. Works on images that open () refuses as damaged. Fails
   * only when there is no verdict. @progress (nullable), as for repair (): bytes of metadata. */
  gboolean   (*check)   (ImgStorage *storage, ImgCheckResult *result, ImgProgress *progress,
                         ImgCancel *cancel, ImgError **error);
  /* Optional: also repairs. Counts what is left and what was fixed. After an error the image is no worse than
   * it was. */
  gboolean   (*repair)  (ImgStorage *storage, ImgRepair repair, ImgCheckResult *result,
                         ImgProgress *progress, ImgCancel *cancel, ImgError **error);
};

/* ---- layouts ----
 *
 * A layout that was opened with metadata_only tells of the image, and of nothing that is on its disk: it may be one of
 * an image whose disk cannot be read at all, such as an encrypted one. It is of a class of its own that has free,
 * describe, list_snapshots and set_data_storage, and no map: what there is no way to do needs no flag that forbids it.
 * The engine keeps every transfer off it (IMG_STATE_METADATA). */

struct _ImgLayoutClass
{
  void         (*free)     (ImgLayout *layout);
  /* @length > 0 and the range lies inside the disk. */
  ImgMapResult (*map)      (ImgLayout *layout, guint64 offset, guint64 length, ImgMapFlags flags,
                            ImgExtent *extent, ImgError **error);
  /* Optional. @stored: unit_host_length bytes; @plain has room for unit_length. The first @wanted bytes
   * are needed; *n_plain, at least as many, says how many are there. */
  gboolean     (*decode)   (ImgLayout *layout, const ImgExtent *extent, const guint8 *stored,
                            guint8 *plain, gsize wanted, gsize *n_plain, ImgError **error);
  /* Optional, as the next ones: reads the bitmap directory, so it may fail. */
  gboolean     (*describe) (ImgLayout *layout, ImgDescription *description, ImgError **error);
  /* An array of ImgSnapshotInfo; reads the snapshot table. */
  GPtrArray   *(*list_snapshots) (ImgLayout *layout, ImgCancel *cancel, ImgError **error);
  /* Called at most once, before the first map, with what the DATA_FILE reference led to. */
  void         (*set_data_storage) (ImgLayout *layout, ImgStorage *storage);

  /* The next ones exist in layouts that can be opened writable. */
  ImgPrepareResult (*prepare_write) (ImgLayout *layout, guint64 offset, guint64 length,
                                     ImgWriteMode mode, ImgPlan *plan, ImgError **error);
  /* Optional. @length: a whole cluster, or the end of the disk; claimed. */
  ImgPrepareResult (*prepare_compressed) (ImgLayout *layout, guint64 offset, guint64 length,
                                          gsize stored_length, ImgPlan *plan, ImgError **error);
  /* Optional. @plain: unit_length bytes; @stored has room for as many. *stored_length: 0 when the
   * encoded bytes would not be shorter. @level: of the compression, 0 for the usual one. Any number of threads at
   * once; the result depends on nothing but what is given. */
  gboolean         (*encode)        (ImgLayout *layout, int level, const guint8 *plain, guint8 *stored,
                                     gsize *stored_length, ImgError **error);
  /* With encode: how much memory each thread that encodes needs for it; the calling thread has it then. */
  gboolean         (*get_encode_memory) (ImgLayout *layout, int level, gsize *memory, ImgError **error);
  /* The range is aligned to punch_granularity (BACKING, ANY: to write_granularity), or ends with the
   * disk; claimed. */
  ImgPrepareResult (*prepare_punch) (ImgLayout *layout, guint64 offset, guint64 length,
                                     ImgPunchMode mode, ImgPlan *plan, ImgError **error);
  /* OK, FLUSH or ERROR; then still to be committed again or aborted. */
  ImgPrepareResult (*commit)        (ImgLayout *layout, ImgPlan *plan, ImgError **error);
  /* After every transfer of the plan has come back. */
  void             (*abort)         (ImgLayout *layout, ImgPlan *plan);
  gboolean         (*flush)         (ImgLayout *layout, ImgError **error);
  /* The steps of a resize, alone behind the closed gate. First room for a larger disk: */
  gboolean         (*reserve)       (ImgLayout *layout, guint64 size, ImgError **error);
  /* then the file says so, durably, and layout->size too; */
  gboolean         (*set_size)      (ImgLayout *layout, guint64 size, ImgError **error);
  /* and after the disk became smaller, what only the old size needed is given up. Optional. */
  gboolean         (*trim)          (ImgLayout *layout, guint64 old_size, ImgError **error);
  /* With it, and before: up to which offset clusters are forgotten then, which are to be given back first. What lies
   * behind @old_size an earlier change may have left there. */
  guint64          (*get_trim_end)  (ImgLayout *layout, guint64 old_size);
  /* Optional. The file names another backing file, or with NULL none, durably: after a crash it is the old or the
   * new one, with its format. Alone behind the closed gate; the references need not be open. */
  gboolean     (*set_backing_name) (ImgLayout *layout, const char *name, const char *format,
                                    ImgError **error);
  /* Optional, alone behind the closed gate. Where behind the disk the state of a virtual machine lies: from *start on.
   * It can be mapped up to *end; with reserve (), for the size that the disk would need to have it inside, further. */
  gboolean         (*find_vm_state) (ImgLayout *layout, guint64 *start, guint64 *end, ImgError **error);
  /* Optional, alone behind the closed gate. The bitmaps that the image has of its own will be among those that
   * copy_bitmaps () leaves, those that record changes with every bit set. CORRUPT where the image is damaged. */
  gboolean         (*keep_bitmaps)  (ImgLayout *layout, ImgCancel *cancel, ImgError **error);
  /* With keep_bitmaps, alone behind the closed gate. Copies the persistent bitmaps of @source (nullable: none), a
   * layout of the same driver, to an image that has none that are valid but those that were to be kept. One that was
   * not closed is CORRUPT or, with @skip_broken, left out. After an error the image has no bitmaps, or can be asked
   * once more for those that were to be kept; the next change makes those that are there invalid. */
  gboolean         (*copy_bitmaps)  (ImgLayout *layout, ImgLayout *source, gboolean skip_broken,
                                     ImgCancel *cancel, ImgError **error);
  /* Optional, behind the closed gate: gives back the host space that nothing refers to, as far as it is sure, and
   * shortens the file. Fails with CORRUPT, without a change, where the metadata is not sound. */
  gboolean         (*reclaim)       (ImgLayout *layout, ImgCancel *cancel, ImgError **error);
  /* The last call before free: flushes and leaves the file as tidy as it can be. */
  gboolean         (*close)         (ImgLayout *layout, ImgError **error);
};

struct _ImgLayout
{
  const ImgLayoutClass *klass;
  const ImgDriver *driver;
  ImgStorage *storage;  /* owned */
  guint64 size;         /* bytes of the guest's disk */
  /* A change of the size has failed and may have happened in the file: setting it to @size is no idle request. With
   * the gate closed. */
  gboolean size_in_doubt;
  GPtrArray *wanted;    /* of ImgWanted, never NULL */
  gsize unit_length;    /* of every COMPRESSED extent's unit; 0: there are none */
  guint64 table_memory; /* bytes of tables that stay in memory while it is open; no caches */
  /* The file is sparse in a way that only its file system knows (preallocated metadata, raw): a map
   * for people should ask the storage which DATA is a hole. */
  gboolean has_host_holes;
  gboolean is_identity; /* raw: guest offset and host offset are one, the file is the disk */

  /* Writable layouts. */
  gboolean writable;
  guint64 write_granularity; /* 1: every write is in place */
  guint64 punch_granularity; /* of KEEP and UNMAP */
  gboolean maps_everything;  /* no range may stay a HOLE when the disk grows */
  gboolean has_backing;      /* names a backing file, or the application put an image below */
  ImgEpoch *epoch;           /* borrowed from the image: who may still use what was freed */
  /* Called, without a lock, before host space is used again. */
  void (*host_freed) (gpointer data, guint64 host_offset, guint64 length);
  gpointer host_freed_data;
};

/* For implementations. */
void       img_layout_init   (ImgLayout *layout, const ImgLayoutClass *klass,
                              const ImgDriver *driver, ImgStorage *storage);
void       img_layout_finish (ImgLayout *layout);

void       img_layout_free   (ImgLayout *layout);

/* All formats, most specific first, raw last; NULL-terminated. */
const ImgDriver *const *img_drivers_get_all (void);
/* NULL if there is none. */
const ImgDriver *img_driver_find  (const char *name);
/* The formats that the bytes of @storage match (never raw), in the order of the list above; an array of
 * const ImgDriver *, possibly empty. */
GPtrArray       *img_drivers_probe (ImgStorage *storage, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* The only match, or raw if there is none; an error if there are several. */
const ImgDriver *img_drivers_guess (ImgStorage *storage, ImgError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgLayout, img_layout_free)

G_END_DECLS
