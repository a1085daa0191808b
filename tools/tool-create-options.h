/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The options after -o when an image is created: "cluster_size=64k,lazy_refcounts=on". */

#pragma once

#include <imago-glib/imago-glib.h>

G_BEGIN_DECLS

typedef struct _ToolCreateOptions ToolCreateOptions;

/* @format: one that can be created. */
ToolCreateOptions *tool_create_options_new   (ImagoFormat *format) G_GNUC_WARN_UNUSED_RESULT;
void               tool_create_options_free  (ToolCreateOptions *self);

/* Whether each text in @lists, nullable, can be a list; a comma at either end cannot be meant. FALSE after a message. */
gboolean           tool_create_options_check_lists (const GPtrArray *lists);
/* Whether @list asks for help. */
gboolean           tool_create_options_is_help (const char *list);
void               tool_create_options_print_help (ToolCreateOptions *self);

/* Reads a list; a later option overrides an earlier one. FALSE after a message about @filename. */
gboolean           tool_create_options_parse (ToolCreateOptions *self,
                                              const char        *list,
                                              const char        *filename);
/* The text of one option: NULL if it was not given. */
const char        *tool_create_options_get   (ToolCreateOptions *self,
                                              const char        *name);
/* FALSE if the format has no such option. */
gboolean           tool_create_options_set   (ToolCreateOptions *self,
                                              const char        *name,
                                              const char        *value);

/* "Formatting 'x', fmt=…" as qemu-img prints it. */
void               tool_create_options_print (ToolCreateOptions *self,
                                              const char        *filename);
/* All but the backing file's name. FALSE after a message about @filename. */
gboolean           tool_create_options_apply (ToolCreateOptions  *self,
                                              ImagoCreateOptions *options,
                                              const char         *filename);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolCreateOptions, tool_create_options_free)

G_END_DECLS
