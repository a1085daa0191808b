/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-create-options.h"

#include "tool-list.h"
#include "tool-message.h"
#include "tool-open.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef enum
{
  KIND_TEXT,
  KIND_SIZE,
  KIND_NUMBER,
  KIND_SWITCH,
  KIND_VERSION,
  KIND_CHOICE, /* an enumeration by its nicks */
  KIND_FILE,
  KIND_UNSUPPORTED, /* QEMU has it */
} Kind;

typedef struct
{
  const char *name;
  Kind kind;
  const char *property; /* of ImagoCreateOptions; NULL: the subcommand's own */
  const char *initial;  /* NULL: not printed unless given */
  const char *help;
} Option;

/* In the order in which qemu-img prints them. */
static const Option qcow2_options[] = {
  { "encryption", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.format", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.key-secret", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.cipher-alg", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.cipher-mode", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.ivgen-alg", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.ivgen-hash-alg", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.hash-alg", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "encrypt.iter-time", KIND_UNSUPPORTED, NULL, NULL, NULL },
  { "cluster_size", KIND_SIZE, "cluster-size", "65536", N_("qcow2 cluster size") },
  { "extended_l2", KIND_SWITCH, "extended-l2", "off", N_("Extended L2 tables") },
  { "preallocation", KIND_CHOICE, "preallocation", NULL,
    N_("Preallocation mode (allowed values: off, metadata, falloc, full)") },
  { "compression_type", KIND_CHOICE, "compression-type", "zlib",
    N_("Compression method used for image cluster compression") },
  { "size", KIND_SIZE, "size", NULL, N_("Virtual disk size") },
  { "compat", KIND_VERSION, "version", NULL, N_("Compatibility level (v2 [0.10] or v3 [1.1])") },
  { "backing_file", KIND_TEXT, NULL, NULL, N_("File name of a base image") },
  { "backing_fmt", KIND_TEXT, "backing-format", NULL, N_("Image format of the base image") },
  { "data_file", KIND_FILE, "data-file", NULL, N_("File name of an external data file") },
  { "data_file_raw", KIND_SWITCH, "raw-data-file", NULL,
    N_("The external data file must stay valid as a raw image") },
  { "lazy_refcounts", KIND_SWITCH, "lazy-refcounts", "off", N_("Postpone refcount updates") },
  { "refcount_bits", KIND_NUMBER, "refcount-bits", "16",
    N_("Width of a reference count entry in bits") },
  { "nocow", KIND_SWITCH, "no-copy-on-write", NULL,
    N_("Turn off copy-on-write (valid only on btrfs)") },
  { "extent_size_hint", KIND_SIZE, "extent-size-hint", NULL,
    N_("Extent size hint for the image file, 0 to disable") },
};

static const Option raw_options[] = {
  { "size", KIND_SIZE, "size", NULL, N_("Virtual disk size") },
  { "nocow", KIND_SWITCH, "no-copy-on-write", NULL,
    N_("Turn off copy-on-write (valid only on btrfs)") },
  { "preallocation", KIND_CHOICE, "preallocation", NULL,
    N_("Preallocation mode (allowed values: off, falloc, full)") },
  { "extent_size_hint", KIND_SIZE, "extent-size-hint", NULL,
    N_("Extent size hint for the image file, 0 to disable") },
};

struct _ToolCreateOptions
{
  const char *format_name;
  const Option *options;
  guint n_options;
  char **values; /* what was given, numbers in decimal */
};

ToolCreateOptions *
tool_create_options_new (ImagoFormat *format)
{
  ToolCreateOptions *self = g_new0 (ToolCreateOptions, 1);

  self->format_name = imago_format_get_name (format);
  self->options = qcow2_options;
  self->n_options = G_N_ELEMENTS (qcow2_options);
  if (!g_str_equal (self->format_name, "qcow2"))
    {
      self->options = raw_options;
      self->n_options = G_N_ELEMENTS (raw_options);
    }
  self->values = g_new0 (char *, self->n_options);
  return self;
}

void
tool_create_options_free (ToolCreateOptions *self)
{
  for (guint i = 0; i < self->n_options; i++)
    g_free (self->values[i]);
  g_free (self->values);
  g_free (self);
}

/* ---- lists ---- */

static gboolean
is_list (const char *list)
{
  gsize n_commas = 0;

  for (gsize i = strlen (list); i > 0 && list[i - 1] == ','; i--)
    n_commas++;
  return list[0] != '\0' && list[0] != ',' && n_commas % 2 == 0;
}

gboolean
tool_create_options_check_lists (const GPtrArray *lists)
{
  for (guint i = 0; lists != NULL && i < lists->len; i++)
    {
      const char *list = g_ptr_array_index (lists, i);

      if (!is_list (list))
        {
          tool_error (_("Invalid option list: %s"), list);
          return FALSE;
        }
    }
  return TRUE;
}

gboolean
tool_create_options_is_help (const char *list)
{
  char *part;

  while ((part = tool_list_next (&list)) != NULL)
    {
      gboolean is_help = g_str_equal (part, "help") || g_str_equal (part, "?");

      g_free (part);
      if (is_help)
        return TRUE;
    }
  return FALSE;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  const Option *const *first = a;
  const Option *const *second = b;

  return strcmp ((*first)->name, (*second)->name);
}

void
tool_create_options_print_help (ToolCreateOptions *self)
{
  static const char *const kinds[] = {
    [KIND_TEXT] = "str",    [KIND_SIZE] = "size",   [KIND_NUMBER] = "num", [KIND_SWITCH] = "bool (on/off)",
    [KIND_VERSION] = "str", [KIND_CHOICE] = "str", [KIND_FILE] = "str",
  };
  g_autoptr (GPtrArray) sorted = g_ptr_array_new ();

  for (guint i = 0; i < self->n_options; i++)
    if (self->options[i].kind != KIND_UNSUPPORTED)
      g_ptr_array_add (sorted, (gpointer) &self->options[i]);
  g_ptr_array_sort (sorted, compare_names);
  printf (_("Supported options:\n"));
  for (guint i = 0; i < sorted->len; i++)
    {
      const Option *option = g_ptr_array_index (sorted, i);
      g_autofree char *left = g_strdup_printf ("%s=<%s>", option->name, kinds[option->kind]);

      printf ("  %-22s - %s\n", left, _ (option->help));
    }
}

/* ---- values ---- */

static int
find_option (ToolCreateOptions *self, const char *name)
{
  for (guint i = 0; i < self->n_options; i++)
    if (g_str_equal (self->options[i].name, name))
      return (int) i;
  return -1;
}

static gboolean
parse_switch (const char *text, gboolean *value)
{
  static const char *const words[] = { "on", "yes", "true", "y", "off", "no", "false", "n" };

  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (g_str_equal (text, words[i]))
      {
        *value = i < 4;
        return TRUE;
      }
  return FALSE;
}

/* The value as it is kept, or NULL after a message. */
static char *
normalize (const Option *option, const char *value, const char *filename)
{
  guint64 number;
  gboolean on;

  switch (option->kind)
    {
    case KIND_SIZE:
      if (tool_parse_size (value, &number))
        return g_strdup_printf ("%" PRIu64, number);
      tool_error (_("%s: Parameter '%s' expects a size, a number with an optional suffix "
                    "k, M, G, T, P or E"),
                  filename, option->name);
      return NULL;
    case KIND_NUMBER:
      if (g_ascii_string_to_unsigned (value, 10, 0, G_MAXUINT64, &number, NULL))
        return g_strdup_printf ("%" PRIu64, number);
      tool_error (_("%s: Parameter '%s' expects a number"), filename, option->name);
      return NULL;
    case KIND_SWITCH:
      if (parse_switch (value, &on))
        return g_strdup (value);
      tool_error (_("%s: Parameter '%s' expects 'on' or 'off'"), filename, option->name);
      return NULL;
    case KIND_UNSUPPORTED:
      if (g_str_equal (option->name, "encryption") && g_str_equal (value, "off"))
        return g_strdup (value);
      tool_error (_("%s: The option '%s' is not supported: images cannot be encrypted"), filename,
                  option->name);
      return NULL;
    case KIND_TEXT:
    case KIND_VERSION:
    case KIND_CHOICE:
    case KIND_FILE:
    default:
      return g_strdup (value);
    }
}

/* "name=value"; a switch can be given as "name", or "noname" for off. */
static gboolean
parse_part (ToolCreateOptions *self, const char *part, const char *filename)
{
  const char *equals = strchr (part, '=');
  g_autofree char *name = equals != NULL ? g_strndup (part, (gsize) (equals - part)) : g_strdup (part);
  const char *value = equals != NULL ? equals + 1 : "on";
  int i = find_option (self, name);

  if (i < 0 && equals == NULL && g_str_has_prefix (name, "no"))
    {
      value = "off";
      i = find_option (self, name + 2);
    }
  if (i < 0)
    {
      tool_error (_("%s: Invalid parameter '%s'"), filename, name);
      return FALSE;
    }
  g_free (self->values[i]);
  self->values[i] = normalize (&self->options[i], value, filename);
  return self->values[i] != NULL;
}

gboolean
tool_create_options_parse (ToolCreateOptions *self, const char *list, const char *filename)
{
  char *part;

  while ((part = tool_list_next (&list)) != NULL)
    {
      gboolean success = parse_part (self, part, filename);

      g_free (part);
      if (!success)
        return FALSE;
    }
  return TRUE;
}

const char *
tool_create_options_get (ToolCreateOptions *self, const char *name)
{
  int i = find_option (self, name);

  return i >= 0 ? self->values[i] : NULL;
}

gboolean
tool_create_options_set (ToolCreateOptions *self, const char *name, const char *value)
{
  int i = find_option (self, name);

  if (i < 0)
    return FALSE;
  g_free (self->values[i]);
  self->values[i] = g_strdup (value);
  return TRUE;
}

void
tool_create_options_print (ToolCreateOptions *self, const char *filename)
{
  printf ("Formatting '%s', fmt=%s", filename, self->format_name);
  for (guint i = 0; i < self->n_options; i++)
    {
      const char *value = self->values[i] != NULL ? self->values[i] : self->options[i].initial;

      if (value == NULL)
        continue;
      printf (" %s=", self->options[i].name);
      for (; *value != '\0'; value++)
        printf (*value == ',' ? ",," : "%c", *value);
    }
  printf ("\n");
  fflush (stdout);
}

/* ---- to the library ---- */

static gboolean
apply_version (ImagoCreateOptions *options, const char *value)
{
  gboolean is_2 = g_str_equal (value, "0.10") || g_str_equal (value, "v2");

  if (!is_2 && !g_str_equal (value, "1.1") && !g_str_equal (value, "v3"))
    return FALSE;
  g_object_set (options, "version", is_2 ? 2u : 3u, NULL);
  return TRUE;
}

static gboolean
apply_choice (ImagoCreateOptions *options, const Option *option, const char *value)
{
  GParamSpec *pspec = g_object_class_find_property (G_OBJECT_GET_CLASS (options), option->property);
  GEnumClass *klass = G_PARAM_SPEC_ENUM (pspec)->enum_class;
  GEnumValue *choice = g_enum_get_value_by_nick (klass, value);

  /* Only the preallocation has a word for nothing. */
  if (g_str_equal (option->name, "preallocation") && g_str_equal (value, "off"))
    choice = g_enum_get_value (klass, 0);
  else if (choice != NULL && choice->value == 0)
    choice = NULL;
  if (choice == NULL)
    return FALSE;
  g_object_set (options, option->property, choice->value, NULL);
  return TRUE;
}

static gboolean
apply_one (ImagoCreateOptions *options, const Option *option, const char *value)
{
  g_autoptr (GFile) file = NULL;
  gboolean on = FALSE;

  switch (option->kind)
    {
    case KIND_TEXT:
      g_object_set (options, option->property, value, NULL);
      return TRUE;
    case KIND_SIZE:
      g_object_set (options, option->property, g_ascii_strtoull (value, NULL, 10), NULL);
      /* What has a default cannot be nothing; for the library that would mean the default. */
      return option->initial == NULL || !g_str_equal (value, "0");
    case KIND_NUMBER:
      if (g_str_equal (value, "0"))
        return FALSE;
      g_object_set (options, option->property,
                    (guint) MIN (g_ascii_strtoull (value, NULL, 10), G_MAXUINT), NULL);
      return TRUE;
    case KIND_SWITCH:
      parse_switch (value, &on);
      g_object_set (options, option->property, on, NULL);
      return TRUE;
    case KIND_VERSION:
      return apply_version (options, value);
    case KIND_CHOICE:
      return apply_choice (options, option, value);
    case KIND_FILE:
      file = tool_new_file (value, NULL);
      if (file == NULL)
        return FALSE;
      g_object_set (options, option->property, file, NULL);
      return TRUE;
    case KIND_UNSUPPORTED:
      /* "off" is all that it can be. */
      return TRUE;
    default:
      return FALSE;
    }
}

gboolean
tool_create_options_apply (ToolCreateOptions *self,
                           ImagoCreateOptions *options,
                           const char *filename)
{
  for (guint i = 0; i < self->n_options; i++)
    {
      const Option *option = &self->options[i];

      if (option->property == NULL || self->values[i] == NULL ||
          apply_one (options, option, self->values[i]))
        continue;
      tool_error (_("%s: Parameter '%s' does not accept value '%s'"), filename, option->name,
                  self->values[i]);
      return FALSE;
    }
  return TRUE;
}
