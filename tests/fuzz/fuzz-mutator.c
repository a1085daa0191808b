/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Half of the mutations are those of libFuzzer; the other half put a number that means something
 * into a place where a number stands: a field of the qcow2 header or an aligned word anywhere. */

#include "config.h"

#include "fuzz-target.h"

#include <glib.h>
#include <string.h>

extern size_t LLVMFuzzerMutate (uint8_t *data, size_t size, size_t max_size);

typedef struct
{
  guint8 offset;
  guint8 width;
} Field;

/* Docs: "QEMU qcow2 image file format", header. */
static const Field header_fields[] = {
  { 4, 4 },   /* version */
  { 8, 8 },   /* backing file offset */
  { 16, 4 },  /* backing file size */
  { 20, 4 },  /* cluster bits */
  { 24, 8 },  /* size */
  { 32, 4 },  /* encryption method */
  { 36, 4 },  /* L1 size */
  { 40, 8 },  /* L1 offset */
  { 48, 8 },  /* refcount table offset */
  { 56, 4 },  /* refcount table clusters */
  { 60, 4 },  /* snapshots */
  { 64, 8 },  /* snapshot table offset */
  { 72, 8 },  /* incompatible features */
  { 80, 8 },  /* compatible features */
  { 88, 8 },  /* autoclear features */
  { 96, 4 },  /* refcount order */
  { 100, 4 }, /* header length */
  { 104, 1 }, /* compression type */
  { 112, 4 }, /* first header extension */
  { 116, 4 }, /* and its length */
};

static guint64
choose_value (guint64 random)
{
  guint64 power = (guint64) 1 << (random >> 8 & 63);

  switch (random & 7)
    {
    case 0:
      return power;
    case 1:
      return power - 1;
    case 2:
      return power + 1;
    case 3:
      return ~power;
    case 4: /* a cluster somewhere near, maybe copied, compressed or zero */
      return (random >> 16 & 0x3f) << (9 + (random >> 24 & 15)) | (random >> 32 & 1) << 63 |
             (random >> 33 & 1) << 62 | (random >> 34 & 1);
    case 5:
      return random >> 16 & 0xff;
    case 6:
      return 0;
    default:
      return random;
    }
}

/* Where the bytes of the first file begin: after the list of pieces. */
static gsize
find_payload (const guint8 *data, gsize size)
{
  gsize header = size > 0 ? 1 + (gsize) (data[0] % 32) * 12 : 0;

  return header <= size ? header : 0;
}

size_t
LLVMFuzzerCustomMutator (uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
  guint64 random = (guint64) seed * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  gsize begin = find_payload (data, size);
  gsize position, width;
  guint64 value;

  random ^= random >> 29;
  if (random & 1 || size < begin + 128)
    return LLVMFuzzerMutate (data, size, max_size);
  random *= G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  random ^= random >> 32;
  if (random & 2)
    {
      const Field *field = &header_fields[(random >> 8) % G_N_ELEMENTS (header_fields)];

      position = begin + field->offset;
      width = field->width;
    }
  else
    {
      position = begin + ((random >> 8) % ((size - begin) / 8)) * 8;
      width = 8;
    }
  random *= G_GUINT64_CONSTANT (0x94d049bb133111eb);
  value = GUINT64_TO_BE (choose_value (random ^ random >> 31));
  memcpy (data + position, (const guint8 *) &value + 8 - width, width);
  return size;
}
