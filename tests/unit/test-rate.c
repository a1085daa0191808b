/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-rate.h"

/* Whoever comes waits for what was taken before, and time that nobody used is not saved up. */
static void
test_reserve (void)
{
  ImgRate rate;

  img_rate_init (&rate, 1000);
  g_assert_cmpint (img_rate_reserve (&rate, 500, 10), ==, 10);
  g_assert_cmpint (img_rate_reserve (&rate, 2000, 20), ==, 500010);
  g_assert_cmpint (img_rate_reserve (&rate, 1, 30), ==, 2500010);
  g_assert_cmpint (img_rate_reserve (&rate, 1000, 9000000), ==, 9000000);
  g_assert_cmpint (img_rate_reserve (&rate, 1000, 9000001), ==, 10000000);
  img_rate_clear (&rate);
}

static void
test_no_limit (void)
{
  ImgRate rate;

  img_rate_init (&rate, 0);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpint (img_rate_reserve (&rate, G_MAXUINT64, 7), ==, 7);
  img_rate_clear (&rate);
}

/* A byte a second, and all there are: still a time that can be waited for. */
static void
test_extremes (void)
{
  ImgRate rate;

  img_rate_init (&rate, 1);
  for (guint i = 0; i < 100; i++)
    g_assert_cmpint (img_rate_reserve (&rate, G_MAXUINT64, 0), >=, 0);
  img_rate_clear (&rate);
}

static void
test_cancel (void)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  ImgRate rate;

  img_rate_init (&rate, 1);
  g_assert_true (img_rate_wait (&rate, G_MAXUINT64, cancel, &error));
  img_cancel_trigger (cancel);
  g_assert_false (img_rate_wait (&rate, 1, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  img_rate_clear (&rate);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rate/reserve", test_reserve);
  g_test_add_func ("/rate/no-limit", test_no_limit);
  g_test_add_func ("/rate/extremes", test_extremes);
  g_test_add_func ("/rate/cancel", test_cancel);
  return g_test_run ();
}
