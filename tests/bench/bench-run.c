/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* bench-run COMMAND ARGUMENT…: runs another program and prints how long it took, its processor time
 * and its peak memory. A small process of its own, because Linux counts the memory of whoever calls
 * exec () into the peak of the program that it becomes, and a script would dwarf what is measured.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
now (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static double
seconds (const struct timeval *time)
{
  return (double) time->tv_sec + (double) time->tv_usec / 1e6;
}

static _Noreturn void
run_child (char **command)
{
  int nowhere = open ("/dev/null", O_WRONLY);

  /* What the program prints does not belong into the result. */
  if (nowhere >= 0)
    dup2 (nowhere, STDOUT_FILENO);
  execvp (command[0], command);
  fprintf (stderr, "bench-run: %s: %s\n", command[0], strerror (errno));
  _exit (127);
}

int
main (int argc, char **argv)
{
  struct rusage usage;
  double begin, end;
  int status;
  pid_t child;

  if (argc < 2)
    {
      fprintf (stderr, "Usage: bench-run COMMAND ARGUMENT…\n");
      return 2;
    }

  begin = now ();
  child = fork ();
  if (child < 0)
    {
      fprintf (stderr, "bench-run: fork: %s\n", strerror (errno));
      return 1;
    }
  if (child == 0)
    run_child (argv + 1);
  while (wait4 (child, &status, 0, &usage) < 0)
    if (errno != EINTR)
      {
        fprintf (stderr, "bench-run: wait4: %s\n", strerror (errno));
        return 1;
      }
  end = now ();

  printf ("seconds=%.6f user=%.6f system=%.6f peak_kib=%ld\n", end - begin,
          seconds (&usage.ru_utime), seconds (&usage.ru_stime), usage.ru_maxrss);
  return WIFEXITED (status) ? WEXITSTATUS (status) : 1;
}
