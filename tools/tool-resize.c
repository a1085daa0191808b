/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-resize.h"

#include "tool-message.h"

#include <glib/gi18n-lib.h>

#define SECTOR_SIZE 512

gboolean
tool_parse_preallocation (const char *text, ImagoPreallocation *mode)
{
  static const struct
  {
    const char *text;
    ImagoPreallocation mode;
  } words[] = {
    { "off", IMAGO_PREALLOCATION_NONE },
    { "metadata", IMAGO_PREALLOCATION_METADATA },
    { "falloc", IMAGO_PREALLOCATION_FALLOC },
    { "full", IMAGO_PREALLOCATION_FULL },
  };

  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (g_str_equal (text, words[i].text))
      {
        *mode = words[i].mode;
        return TRUE;
      }

  tool_error (_("Invalid preallocation mode '%s'"), text);
  return FALSE;
}

gboolean
tool_check_disk_size (ImagoImage *image, guint64 size)
{
  if (size % SECTOR_SIZE == 0 ||
      g_str_equal (imago_format_get_name (imago_image_get_format (image)), "raw"))
    return TRUE;

  tool_error (_("The new size must be a multiple of %d"), SECTOR_SIZE);
  return FALSE;
}
