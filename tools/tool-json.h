/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* JSON in the layout that qemu-img prints: four blanks, no blank before a colon. Scripts read it
 * with line tools too. */

#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* NULL is left out: absent means "does not apply" throughout. What is no UTF-8 is replaced. */
void tool_json_add_string (JsonObject *object, const char *name, const char *value);
void tool_json_add_size   (JsonObject *object, const char *name, guint64 value);
/* An array of the strings, empty for NULL. */
void tool_json_add_strings (JsonObject *object, const char *name, const char *const *values);

/* Takes @root and prints it on the standard output with a line feed. */
void tool_json_print      (JsonNode *root);
/* @text quoted and escaped. */
char *tool_json_quote     (const char *text) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
