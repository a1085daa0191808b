/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The header of LUKS version 1: what it says of how a disk is encrypted. It is read without a key, and nothing here
 * has to do with one: key material stays in the file.
 *
 * Names are those of QEMU. A header that names a cipher, mode or hash that QEMU does not know, or whose parts lie over
 * each other, is refused, as QEMU refuses it. See "LUKS On-Disk Format Specification", version 1.2.3, figures 1 to 3.
 */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

#define IMG_LUKS_HEADER_LENGTH 592
#define IMG_LUKS_KEY_SLOTS 8
#define IMG_LUKS_UUID_LENGTH 40

typedef struct
{
  gboolean is_active;
  guint32 iterations;
  guint32 stripes;
  guint64 key_offset;           /* bytes from the start of the header */
} ImgLuksSlot;

typedef struct
{
  const char *cipher;           /* "aes-256"; static, as are the next ones */
  const char *cipher_mode;      /* "xts" */
  const char *iv_generator;     /* "plain64" */
  const char *iv_hash;          /* "sha256"; NULL: the generator needs none */
  const char *hash;             /* of the key derivation */
  char uuid[IMG_LUKS_UUID_LENGTH + 1]; /* as it stands there: any bytes */
  guint64 payload_offset;       /* bytes from the start of the header */
  guint32 master_key_iterations;
  ImgLuksSlot slots[IMG_LUKS_KEY_SLOTS];
} ImgLuksInfo;

/* @length: what there is room for from @offset on, by whoever says that a header is there. */
gboolean img_luks_header_read (ImgStorage *storage, guint64 offset, guint64 length, ImgLuksInfo *info,
                               ImgError **error);

G_END_DECLS
