/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-stop.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t stopped_by;

static void
note (int signal_number)
{
  if (stopped_by != 0)
    _exit (128 + signal_number);
  stopped_by = signal_number;
}

void
tool_stop_watch (void)
{
  static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

  for (guint i = 0; i < G_N_ELEMENTS (signals); i++)
    {
      struct sigaction action = { .sa_handler = note, .sa_flags = SA_RESTART };
      struct sigaction old;

      /* What the parent had ignored (nohup, a shell's background job) stays so. */
      if (sigaction (signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction (signals[i], &action, NULL);
    }
}

int
tool_stop_get (void)
{
  return stopped_by;
}

void
tool_stop_die (int signal_number)
{
  if (signal_number == 0)
    return;
  signal (signal_number, SIG_DFL);
  raise (signal_number);
}
