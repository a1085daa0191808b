/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who may do what when: turns, claims, stamps of the epoch; and the set of clusters that is asked
 * meanwhile. */

#include "config.h"

#include "img-claims.h"
#include "img-cluster-set.h"
#include "img-epoch.h"
#include "img-turn.h"

#define N_THREADS 8
#define N_TRAVELLERS 3

/* ---- turns ---- */

typedef struct
{
  ImgTurn turn;
  gint n_inside;   /* atomic */
  guint64 n_taken; /* under the turn */
} Shared;

static gpointer
turn_thread (gpointer data)
{
  Shared *shared = data;

  for (guint i = 0; i < 5000; i++)
    {
      img_turn_take (&shared->turn);
      g_assert_true (img_turn_is_mine (&shared->turn));
      g_assert_cmpint (g_atomic_int_add (&shared->n_inside, 1), ==, 0);
      shared->n_taken++;
      g_assert_cmpint (g_atomic_int_add (&shared->n_inside, -1), ==, 1);
      img_turn_give (&shared->turn);
    }
  return NULL;
}

static void
test_turn (void)
{
  GThread *threads[N_THREADS];
  Shared shared = { 0 };

  img_turn_init (&shared.turn);
  g_assert_false (img_turn_is_mine (&shared.turn));
  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("turn", turn_thread, &shared);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (shared.n_taken, ==, N_THREADS * 5000);
  g_assert_true (img_turn_try_take (&shared.turn));
  g_assert_false (img_turn_try_take (&shared.turn));
  img_turn_give (&shared.turn);
  img_turn_clear (&shared.turn);
}

/* ---- claims ---- */

typedef struct
{
  ImgClaims claims;
  gint owner[64]; /* atomic: number of the thread that has the block, 0 for none */
} Blocks;

typedef struct
{
  Blocks *blocks;
  gint number;
} Claimer;

static gpointer
claim_thread (gpointer data)
{
  Claimer *self = data;
  g_autoptr (GRand) random = g_rand_new_with_seed ((guint32) self->number);

  for (guint i = 0; i < 3000; i++)
    {
      guint64 first = (guint64) g_rand_int_range (random, 0, 60);
      guint64 n = (guint64) g_rand_int_range (random, 1, 5);
      ImgClaim claim;

      img_claim_take (&self->blocks->claims, &claim, first * 512, n * 512);
      for (guint64 b = first; b < first + n; b++)
        g_assert_true (
          g_atomic_int_compare_and_exchange (&self->blocks->owner[b], 0, self->number));
      for (guint64 b = first; b < first + n; b++)
        g_assert_true (
          g_atomic_int_compare_and_exchange (&self->blocks->owner[b], self->number, 0));
      img_claim_release (&self->blocks->claims, &claim);
    }
  return NULL;
}

static void
test_claims (void)
{
  Claimer claimers[N_THREADS];
  GThread *threads[N_THREADS];
  Blocks blocks = { 0 };

  img_claims_init (&blocks.claims);
  for (guint i = 0; i < N_THREADS; i++)
    {
      claimers[i] = (Claimer){ &blocks, (gint) i + 1 };
      threads[i] = g_thread_new ("claim", claim_thread, &claimers[i]);
    }
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  img_claims_clear (&blocks.claims);
}

/* Those that only touch do not wait. */
static void
test_claims_neighbours (void)
{
  ImgClaim left, right, far;
  ImgClaims claims;

  img_claims_init (&claims);
  img_claim_take (&claims, &left, 0, 512);
  img_claim_take (&claims, &right, 512, 512);
  img_claim_take (&claims, &far, G_MAXINT64, 1);
  img_claim_release (&claims, &left);
  img_claim_release (&claims, &far);
  img_claim_release (&claims, &right);
  img_claims_clear (&claims);
}

/* ---- stamps ---- */

static void
test_stamps (void)
{
  ImgEpochTicket old, young;
  ImgEpoch epoch;
  gint stamp;

  img_epoch_init (&epoch);
  stamp = img_epoch_get_stamp (&epoch);
  g_assert_true (img_epoch_has_passed (&epoch, stamp)); /* nobody was there */

  old = img_epoch_enter (&epoch);
  stamp = img_epoch_get_stamp (&epoch);
  for (guint i = 0; i < 5; i++)
    g_assert_false (img_epoch_has_passed (&epoch, stamp));
  /* Who comes later does not count. */
  young = img_epoch_enter (&epoch);
  g_assert_false (img_epoch_has_passed (&epoch, stamp));
  img_epoch_leave (&epoch, old);
  g_assert_true (img_epoch_has_passed (&epoch, stamp));
  g_assert_true (img_epoch_has_passed (&epoch, stamp));
  /* … but does for a later stamp. */
  stamp = img_epoch_get_stamp (&epoch);
  g_assert_false (img_epoch_has_passed (&epoch, stamp));
  img_epoch_leave (&epoch, young);
  g_assert_true (img_epoch_has_passed (&epoch, stamp));
  img_epoch_clear (&epoch);
}

typedef struct
{
  ImgEpoch epoch;
  gint generation;        /* atomic */
  gint oldest[N_THREADS]; /* atomic: the generation that the thread's transfer may still see; 0:
                             none */
  gint n_transfers;
  gint stop;
} Traffic;

typedef struct
{
  Traffic *traffic;
  guint number;
} Traveller;

static gpointer
traffic_thread (gpointer data)
{
  Traveller *self = data;
  Traffic *traffic = self->traffic;

  while (!g_atomic_int_get (&traffic->stop))
    {
      ImgEpochTicket ticket = img_epoch_enter (&traffic->epoch);

      g_atomic_int_set (&traffic->oldest[self->number], g_atomic_int_get (&traffic->generation));
      g_atomic_int_inc (&traffic->n_transfers);
      g_atomic_int_set (&traffic->oldest[self->number], 0);
      img_epoch_leave (&traffic->epoch, ticket);
    }
  return NULL;
}

/* As for a grace period that is waited for, but polled. */
static void
test_stamps_threads (void)
{
  Traffic traffic = { .generation = 1 };
  Traveller travellers[N_THREADS];
  GThread *threads[N_THREADS];

  img_epoch_init (&traffic.epoch);
  for (guint i = 0; i < N_TRAVELLERS; i++)
    {
      travellers[i] = (Traveller){ &traffic, i };
      threads[i] = g_thread_new ("traffic", traffic_thread, &travellers[i]);
    }
  while (g_atomic_int_get (&traffic.n_transfers) == 0)
    g_thread_yield ();
  for (gint round = 2; round < 60; round++)
    {
      gint stamp;

      g_atomic_int_set (&traffic.generation, round);
      stamp = img_epoch_get_stamp (&traffic.epoch);
      while (!img_epoch_has_passed (&traffic.epoch, stamp))
        g_usleep (20);
      for (guint i = 0; i < N_TRAVELLERS; i++)
        {
          gint oldest = g_atomic_int_get (&traffic.oldest[i]);

          g_assert_true (oldest == 0 || oldest >= round);
        }
    }
  g_atomic_int_set (&traffic.stop, TRUE);
  for (guint i = 0; i < N_TRAVELLERS; i++)
    g_thread_join (threads[i]);
  img_epoch_clear (&traffic.epoch);
}

/* ---- sets of clusters ---- */

static void
test_set (void)
{
  guint64 limit = (guint64) 1 << 47; /* clusters of 512 bytes */
  g_autoptr (ImgClusterSet) set = img_cluster_set_new (limit, NULL);

  g_assert_nonnull (set);
  g_assert_false (img_cluster_set_meets (set, 0, limit));
  g_assert_true (img_cluster_set_add (set, 63, 2, NULL));
  g_assert_true (img_cluster_set_add (set, limit - 1, 1, NULL));
  g_assert_true (img_cluster_set_add (set, 32760, 16, NULL)); /* from one leaf into the next */
  g_assert_false (img_cluster_set_meets (set, 0, 63));
  g_assert_true (img_cluster_set_meets (set, 0, 64));
  g_assert_true (img_cluster_set_meets (set, 64, 1));
  g_assert_false (img_cluster_set_meets (set, 65, 32760 - 65));
  g_assert_true (img_cluster_set_meets (set, 32775, 1));
  g_assert_false (img_cluster_set_meets (set, 32776, limit - 1 - 32776));
  g_assert_true (img_cluster_set_meets (set, 32776, limit - 32776));
  /* What lies past the limit is nobody's. */
  g_assert_true (img_cluster_set_meets (set, limit, 1));
  g_assert_true (img_cluster_set_meets (set, G_MAXUINT64, 2));
  img_cluster_set_remove (set, 32760, 16);
  img_cluster_set_remove (set, 5000, 1000000);
  g_assert_false (img_cluster_set_meets (set, 65, limit - 66));
}

/* Against a plain array of flags. */
static void
test_set_random (void)
{
  enum
  {
    N = 100000
  };
  g_autoptr (ImgClusterSet) set = img_cluster_set_new (N, NULL);
  g_autofree guint8 *flags = g_new0 (guint8, N);
  g_autoptr (GRand) random = g_rand_new_with_seed (12);

  for (guint i = 0; i < 4000; i++)
    {
      guint first = (guint) g_rand_int_range (random, 0, N - 1);
      guint wanted = (guint) g_rand_int_range (random, 1, i % 7 == 0 ? 40000 : 200);
      guint n = MIN (wanted, N - first);
      gboolean expected = memchr (flags + first, 1, n) != NULL;

      g_assert_cmpint (img_cluster_set_meets (set, first, n), ==, expected);
      if (i % 3 == 0)
        img_cluster_set_remove (set, first, n);
      else
        g_assert_true (img_cluster_set_add (set, first, n, NULL));
      memset (flags + first, i % 3 != 0, n);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/turn/threads", test_turn);
  g_test_add_func ("/claims/threads", test_claims);
  g_test_add_func ("/claims/neighbours", test_claims_neighbours);
  g_test_add_func ("/epoch/stamps", test_stamps);
  g_test_add_func ("/epoch/stamps-threads", test_stamps_threads);
  g_test_add_func ("/cluster-set/edges", test_set);
  g_test_add_func ("/cluster-set/random", test_set_random);
  return g_test_run ();
}
