/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fuzz-limits.h"
#include "fuzz-storage.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>

/* A thread keeps one buffer for the stored bytes of compressed clusters. */
#define MAX_KEPT ((gsize) 4 << 20)

static gsize live;
static guint n_live;
static gsize peak;
static gsize limit = FUZZ_MAX_LIVE;
static gboolean is_running;
static guint n_pauses;

gpointer __real_img_try_alloc (gsize size, ImgError **error);
gpointer __real_img_try_alloc0 (gsize count, gsize size, ImgError **error);
void __real_img_free (gpointer memory);
gpointer __wrap_img_try_alloc (gsize size, ImgError **error);
gpointer __wrap_img_try_alloc0 (gsize count, gsize size, ImgError **error);
void __wrap_img_free (gpointer memory);
int __real_openat (int directory, const char *path, int flags, ...);
int __wrap_open (const char *path, int flags, ...);
int __wrap_open64 (const char *path, int flags, ...);
int __wrap_openat (int directory, const char *path, int flags, ...);
int __wrap_openat64 (int directory, const char *path, int flags, ...);
long __wrap_syscall (long number, ...);

static gpointer
count (gpointer memory, gsize size)
{
  if (memory == NULL || n_pauses > 0)
    return memory;
  fuzz_require (size <= FUZZ_MAX_BLOCK, "one allocation of %" G_GSIZE_FORMAT " bytes", size);
  n_live++;
  live += malloc_usable_size (memory);
  peak = MAX (peak, live);
  fuzz_require (live <= limit, "%" G_GSIZE_FORMAT " bytes allocated at once", live);
  return memory;
}

gpointer
__wrap_img_try_alloc (gsize size, ImgError **error)
{
  return count (__real_img_try_alloc (size, error), size);
}

gpointer
__wrap_img_try_alloc0 (gsize n, gsize size, ImgError **error)
{
  return count (__real_img_try_alloc0 (n, size, error), n * size);
}

void
__wrap_img_free (gpointer memory)
{
  if (memory != NULL && n_pauses == 0)
    {
      n_live--;
      live -= malloc_usable_size (memory);
    }
  __real_img_free (memory);
}

/* Between inputs the program may do as it likes: a coverage build writes its counters at the end.
 */
static int
guard (const char *path,
       int (*real) (int directory, const char *path, int flags, ...),
       int directory,
       int flags,
       va_list args)
{
  int mode = flags & O_CREAT ? va_arg (args, int) : 0;

  fuzz_require (!is_running, "open of '%s'", path);
  return real (directory, path, flags, mode);
}

#define WRAP_OPEN(name, parameters, directory)                                                     \
  int name parameters                                                                              \
  {                                                                                                \
    va_list args;                                                                                  \
    int result;                                                                                    \
                                                                                                   \
    va_start (args, flags);                                                                        \
    result = guard (path, __real_openat, directory, flags, args);                                  \
    va_end (args);                                                                                 \
    return result;                                                                                 \
  }

WRAP_OPEN (__wrap_open, (const char *path, int flags, ...), AT_FDCWD)
WRAP_OPEN (__wrap_open64, (const char *path, int flags, ...), AT_FDCWD)
WRAP_OPEN (__wrap_openat, (int directory, const char *path, int flags, ...), directory)
WRAP_OPEN (__wrap_openat64, (int directory, const char *path, int flags, ...), directory)

long
__wrap_syscall (long number, ...)
{
  /* The core makes none while it reads; nobody else's calls lead here. */
  fuzz_violation ("system call %ld", number);
}

void
fuzz_limits_begin (guint n_layers)
{
  limit = FUZZ_MAX_LIVE * n_layers;
  is_running = TRUE;
}

void
fuzz_limits_pause (void)
{
  n_pauses++;
}

void
fuzz_limits_resume (void)
{
  n_pauses--;
}

void
fuzz_limits_end (void)
{
  is_running = FALSE;
  fuzz_require (n_live <= 1 && live <= MAX_KEPT,
                "%u blocks of %" G_GSIZE_FORMAT " bytes were not released", n_live, live);
  fuzz_require (fuzz_storage_count () == 0, "%u storages were not released", fuzz_storage_count ());
}

gsize
fuzz_limits_get_peak (void)
{
  return peak;
}
