/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Errors on their way out of the core and back into it. */

#include <errno.h>

#include "imago-glib/imago-error-private.h"

static void
test_codes (void)
{
  for (int code = IMG_CODE_FAILED; code <= IMG_CODE_METADATA_ONLY; code++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (ImgError) back = NULL;
      ImgError *core_error = NULL;

      img_error_set (&core_error, (ImgCode) code, "number %d", code);
      imago_error_take (&error, core_error);
      g_assert_error (error, IMAGO_ERROR, code);
      back = imago_error_to_core (error);
      g_assert_cmpint (back->code, ==, code);
      g_assert_cmpstr (back->text, ==, error->message);
    }
}

static void
test_errno (void)
{
  const struct
  {
    int number;
    GIOErrorEnum code;
  } cases[] = {
    { ENOENT, G_IO_ERROR_NOT_FOUND },    { EACCES, G_IO_ERROR_PERMISSION_DENIED },
    { EEXIST, G_IO_ERROR_EXISTS },       { ENOSPC, G_IO_ERROR_NO_SPACE },
    { EROFS, G_IO_ERROR_READ_ONLY },     { EMFILE, G_IO_ERROR_TOO_MANY_OPEN_FILES },
    { EISDIR, G_IO_ERROR_IS_DIRECTORY }, { EIO, G_IO_ERROR_FAILED },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GError) again = NULL;
      ImgError *core_error = NULL;

      img_error_set_errno (&core_error, cases[i].number, "Cannot do it");
      imago_error_take (&error, core_error);
      g_assert_error (error, G_IO_ERROR, (int) cases[i].code);
      g_assert_true (g_str_has_prefix (error->message, "Cannot do it: "));
      imago_error_take (&again, imago_error_to_core (error));
      g_assert_error (again, G_IO_ERROR, (int) cases[i].code);
      g_assert_cmpstr (again->message, ==, error->message);
    }
}

static void
test_cancelled (void)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (ImgError) back = NULL;
  ImgError *core_error = NULL;

  img_cancel_trigger (cancel);
  g_assert_true (img_cancel_check (cancel, &core_error));
  imago_error_take (&error, core_error);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  back = imago_error_to_core (error);
  g_assert_cmpint (back->code, ==, IMG_CODE_CANCELLED);
}

static void
test_foreign (void)
{
  g_autoptr (GError) parse = g_error_new (G_MARKUP_ERROR, G_MARKUP_ERROR_EMPTY, "strange");
  g_autoptr (GError) unknown = g_error_new (IMAGO_ERROR, 4711, "from the future");
  g_autoptr (GError) negative = g_error_new (IMAGO_ERROR, -1, "from nowhere");
  const GError *errors[] = { parse, unknown, negative };

  for (guint i = 0; i < G_N_ELEMENTS (errors); i++)
    {
      g_autoptr (ImgError) core_error = imago_error_to_core (errors[i]);

      g_assert_cmpint (core_error->code, ==, IMG_CODE_FAILED);
      g_assert_cmpstr (core_error->text, ==, errors[i]->message);
    }
}

/* Those without an errno travel as well, through a copy too. */
static void
test_gio (void)
{
  for (int code = G_IO_ERROR_FAILED; code <= G_IO_ERROR_MESSAGE_TOO_LARGE; code++)
    {
      g_autoptr (GError) error = g_error_new (G_IO_ERROR, code, "code %d", code);
      g_autoptr (ImgError) core_error = imago_error_to_core (error);
      g_autoptr (GError) back = NULL;

      imago_error_take (&back, img_error_copy (core_error));
      g_assert_error (back, G_IO_ERROR, code);
      g_assert_cmpstr (back->message, ==, error->message);
    }
}

static void
test_nobody_listens (void)
{
  ImgError *core_error = NULL;

  img_error_set (&core_error, IMG_CODE_CORRUPT, "unheard");
  imago_error_take (NULL, core_error);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/error-core/codes", test_codes);
  g_test_add_func ("/error-core/errno", test_errno);
  g_test_add_func ("/error-core/cancelled", test_cancelled);
  g_test_add_func ("/error-core/foreign", test_foreign);
  g_test_add_func ("/error-core/gio", test_gio);
  g_test_add_func ("/error-core/nobody-listens", test_nobody_listens);
  return g_test_run ();
}
