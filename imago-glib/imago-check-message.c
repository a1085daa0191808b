/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-check-message-private.h"
#include "imago-enum-types.h"

/**
 * SECTION:imago-check-message
 * @title: ImagoCheckMessage
 * @short_description: One finding of a check
 *
 * One thing that an #ImagoCheckJob found in an image.
 *
 * Messages never change and may be used from any thread.
 */

/**
 * ImagoCheckMessage:
 *
 * One finding of a check.
 *
 * Since: 1.0
 */
struct _ImagoCheckMessage
{
  GObject parent_instance;

  ImagoCheckMessageKind kind;
  guint64 host_offset;
  char *text;
};

G_STATIC_ASSERT ((int) IMAGO_CHECK_MESSAGE_ERROR == (int) IMG_CHECK_ERROR + 1);
G_STATIC_ASSERT ((int) IMAGO_CHECK_MESSAGE_CORRUPTION == (int) IMG_CHECK_CORRUPTION + 1);
G_STATIC_ASSERT ((int) IMAGO_CHECK_MESSAGE_LEAK == (int) IMG_CHECK_LEAK + 1);
G_STATIC_ASSERT ((int) IMAGO_CHECK_MESSAGE_REPAIRED == (int) IMG_CHECK_REPAIRED + 1);
G_STATIC_ASSERT ((int) IMAGO_CHECK_MESSAGE_NOTE == (int) IMG_CHECK_NOTE + 1);

G_DEFINE_FINAL_TYPE (ImagoCheckMessage, imago_check_message, G_TYPE_OBJECT)

enum
{
  PROP_KIND = 1,
  PROP_HOST_OFFSET,
  PROP_TEXT,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_check_message_get_property (GObject *object,
                                  guint property_id,
                                  GValue *value,
                                  GParamSpec *pspec)
{
  ImagoCheckMessage *self = IMAGO_CHECK_MESSAGE (object);

  switch (property_id)
    {
    case PROP_KIND:
      g_value_set_enum (value, (int) self->kind);
      break;
    case PROP_HOST_OFFSET:
      g_value_set_uint64 (value, self->host_offset);
      break;
    case PROP_TEXT:
      g_value_set_string (value, self->text);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_check_message_finalize (GObject *object)
{
  g_free (IMAGO_CHECK_MESSAGE (object)->text);
  G_OBJECT_CLASS (imago_check_message_parent_class)->finalize (object);
}

static void
imago_check_message_class_init (ImagoCheckMessageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_check_message_get_property;
  object_class->finalize = imago_check_message_finalize;

  /**
   * ImagoCheckMessage:kind:
   *
   * What kind of finding it is.
   *
   * Since: 1.0
   */
  properties[PROP_KIND] =
    g_param_spec_enum ("kind", "Kind", "What kind of finding it is", IMAGO_TYPE_CHECK_MESSAGE_KIND,
                       IMAGO_CHECK_MESSAGE_NONE, flags);

  /**
   * ImagoCheckMessage:host-offset:
   *
   * Where in the file, in bytes, the cluster begins that the message is about.
   *
   * Since: 1.0
   */
  properties[PROP_HOST_OFFSET] = g_param_spec_uint64 (
    "host-offset", "Host offset", "Where in the file the cluster begins", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCheckMessage:text:
   *
   * The finding in words, translated but for the lines that scripts know from qemu-img.
   *
   * Since: 1.0
   */
  properties[PROP_TEXT] = g_param_spec_string ("text", "Text", "The finding in words", NULL, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_check_message_init (ImagoCheckMessage *self)
{
}

static ImagoCheckMessage *
message_new (const ImgCheckMessage *core)
{
  ImagoCheckMessage *self = g_object_new (IMAGO_TYPE_CHECK_MESSAGE, NULL);

  self->kind = (ImagoCheckMessageKind) ((int) core->kind + 1);
  self->host_offset = core->host_offset;
  self->text = g_utf8_make_valid (core->text, -1);
  return self;
}

GListModel *
imago_check_message_list_from_core (GPtrArray *messages)
{
  GListStore *list = g_list_store_new (IMAGO_TYPE_CHECK_MESSAGE);

  for (guint i = 0; i < messages->len; i++)
    {
      g_autoptr (ImagoCheckMessage) message = message_new (g_ptr_array_index (messages, i));

      g_list_store_append (list, message);
    }
  return G_LIST_MODEL (list);
}

/**
 * imago_check_message_get_kind:
 * @self: an #ImagoCheckMessage
 *
 * Gets what kind of finding it is.
 *
 * Returns: the kind
 *
 * Since: 1.0
 */
ImagoCheckMessageKind
imago_check_message_get_kind (ImagoCheckMessage *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_MESSAGE (self), IMAGO_CHECK_MESSAGE_NONE);

  return self->kind;
}

/**
 * imago_check_message_get_host_offset:
 * @self: an #ImagoCheckMessage
 *
 * Gets where in the file the cluster begins that the message is about.
 *
 * Returns: the offset in bytes
 *
 * Since: 1.0
 */
guint64
imago_check_message_get_host_offset (ImagoCheckMessage *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_MESSAGE (self), 0);

  return self->host_offset;
}

/**
 * imago_check_message_get_text:
 * @self: an #ImagoCheckMessage
 *
 * Gets the finding in words.
 *
 * Returns: (transfer none): the text, translated but for the lines that scripts know from qemu-img
 *
 * Since: 1.0
 */
const char *
imago_check_message_get_text (ImagoCheckMessage *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_MESSAGE (self), NULL);

  return self->text;
}
