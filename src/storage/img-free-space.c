/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-free-space.h"
#include "img-seam.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/statfs.h>
#endif

#define EXT_MAGIC 0xEF53 /* ext2 to ext4 */
#define TMPFS_MAGIC 0x01021994
#define XFS_MAGIC 0x58465342

/* Those known to store what they are given as it is. Of all others, network and stacked ones too,
 * what is free is a number to show, not one to refuse by. */
static void
find_kind (const char *path, ImgFreeSpace *space)
{
#ifdef __linux__
  struct statfs fs;

  if (statfs (path, &fs) != 0)
    return;
  space->has_reflinks = fs.f_type == XFS_MAGIC;
  space->is_plain = fs.f_type == EXT_MAGIC || fs.f_type == TMPFS_MAGIC || fs.f_type == XFS_MAGIC;
#endif
}

static gboolean
look_at (const char *path, ImgFreeSpace *space)
{
  struct statvfs fs;
  struct stat st;

  if (stat (path, &st) != 0 || statvfs (path, &fs) != 0 || fs.f_blocks == 0)
    return FALSE;
  *space = (ImgFreeSpace){ .device = (guint64) st.st_dev };
  /* What is reserved is so for the superuser. */
  space->bytes = (guint64) (geteuid () == 0 ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
  find_kind (path, space);
  if (img_seam_is_on (IMG_SEAM_FREE_KIB))
    {
      space->bytes = (guint64) img_seam_get (IMG_SEAM_FREE_KIB) * 1024;
      space->is_plain = TRUE;
      space->has_reflinks = img_seam_is_on (IMG_SEAM_REFLINKS);
    }
  return TRUE;
}

gboolean
img_free_space_find (const char *path, ImgFreeSpace *space)
{
  g_autofree char *folder = NULL;
  struct stat st;

  if (stat (path, &st) == 0)
    return S_ISREG (st.st_mode) && look_at (path, space);
  /* A link to nothing may lead to another file system. */
  if (errno != ENOENT || lstat (path, &st) == 0)
    return FALSE;
  folder = g_path_get_dirname (path);
  return look_at (folder, space);
}
