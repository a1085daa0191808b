/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-bytes.h"
#include "img-cluster-set.h"

#define WORD_BITS 64
#define LEAF_BITS 15 /* a leaf: 4 KiB of bits */
#define LEAF_SIZE ((guint64) 1 << LEAF_BITS)
#define NODE_BITS 10 /* a node: 8 KiB of pointers */
#define NODE_SIZE ((guint64) 1 << NODE_BITS)

typedef struct
{
  guint64 words[LEAF_SIZE / WORD_BITS];
} Leaf;

/* Of leaves, or of such nodes. */
typedef struct
{
  gpointer children[NODE_SIZE];
} Node;

struct _ImgClusterSet
{
  guint64 limit;
  guint64 n_nodes;
  gpointer *nodes; /* of nodes of nodes of leaves */
};

ImgClusterSet *
img_cluster_set_new (guint64 limit, ImgError **error)
{
  g_autoptr (ImgClusterSet) set = g_new0 (ImgClusterSet, 1);

  set->limit = limit;
  set->n_nodes = img_div_round_up (limit, LEAF_SIZE * NODE_SIZE * NODE_SIZE);
  set->nodes = img_try_alloc0 (set->n_nodes, sizeof (gpointer), error);
  return set->nodes != NULL ? g_steal_pointer (&set) : NULL;
}

static void
free_node (Node *node, guint level)
{
  for (guint64 i = 0; node != NULL && i < NODE_SIZE; i++)
    if (level > 0)
      free_node (node->children[i], level - 1);
    else
      img_free (node->children[i]);
  img_free (node);
}

void
img_cluster_set_free (ImgClusterSet *set)
{
  if (set == NULL)
    return;
  for (guint64 i = 0; set->nodes != NULL && i < set->n_nodes; i++)
    free_node (set->nodes[i], 1);
  img_free (set->nodes);
  g_free (set);
}

/* ---- the way to a leaf ---- */

static inline gpointer *
root_of (const ImgClusterSet *set, guint64 cluster)
{
  return &set->nodes[cluster >> (LEAF_BITS + 2 * NODE_BITS)];
}

static inline gpointer *
child_of (Node *node, guint64 cluster, guint shift)
{
  return &node->children[(cluster >> shift) & (NODE_SIZE - 1)];
}

/* NULL: none of the clusters around @cluster is a member; 2 to the power of *empty_bits of them, aligned. */
static inline Leaf *
find_leaf (const ImgClusterSet *set, guint64 cluster, guint *empty_bits)
{
  Node *node = __atomic_load_n (root_of (set, cluster), __ATOMIC_ACQUIRE);

  *empty_bits = LEAF_BITS + 2 * NODE_BITS;
  if (node == NULL)
    return NULL;
  *empty_bits -= NODE_BITS;
  node = __atomic_load_n (child_of (node, cluster, LEAF_BITS + NODE_BITS), __ATOMIC_ACQUIRE);
  if (node == NULL)
    return NULL;
  *empty_bits -= NODE_BITS;
  return __atomic_load_n (child_of (node, cluster, LEAF_BITS), __ATOMIC_ACQUIRE);
}

/* How many of the @count clusters from @first on an empty part of that size holds. */
static guint64
count_empty (guint64 first, guint64 count, guint empty_bits)
{
  guint64 size = (guint64) 1 << empty_bits;

  return MIN (count, size - (first & (size - 1)));
}

/* What is at @place, made if there is nothing. */
static gpointer
make (gpointer *place, gsize size, ImgError **error)
{
  gpointer made = *place;

  if (made == NULL)
    {
      made = img_try_alloc0 (1, size, error);
      if (made != NULL)
        __atomic_store_n (place, made, __ATOMIC_RELEASE);
    }
  return made;
}

static Leaf *
make_leaf (ImgClusterSet *set, guint64 cluster, ImgError **error)
{
  Node *node = make (root_of (set, cluster), sizeof (Node), error);

  if (node != NULL)
    node = make (child_of (node, cluster, LEAF_BITS + NODE_BITS), sizeof (Node), error);
  if (node == NULL)
    return NULL;
  return make (child_of (node, cluster, LEAF_BITS), sizeof (Leaf), error);
}

/* The bits of one word that [first, first + count) has; *n is how many clusters that are. */
static guint64
word_mask (guint64 first, guint64 count, guint64 *n)
{
  guint shift = (guint) (first % WORD_BITS);

  *n = MIN (count, WORD_BITS - shift);
  return (*n == WORD_BITS ? G_MAXUINT64 : ((guint64) 1 << *n) - 1) << shift;
}

static guint64 *
word_of (Leaf *leaf, guint64 cluster)
{
  return &leaf->words[(cluster & (LEAF_SIZE - 1)) / WORD_BITS];
}

gboolean
img_cluster_set_add (ImgClusterSet *set, guint64 first, guint64 count, ImgError **error)
{
  guint64 n;

  g_assert (img_range_fits (first, count, set->limit));
  for (guint64 at = first, left = count; left > 0; at += n, left -= n)
    {
      Leaf *leaf = make_leaf (set, at, error);

      if (leaf == NULL)
        {
          img_cluster_set_remove (set, first, at - first);
          return FALSE;
        }
      __atomic_fetch_or (word_of (leaf, at), word_mask (at, left, &n), __ATOMIC_RELEASE);
    }
  return TRUE;
}

void
img_cluster_set_remove (ImgClusterSet *set, guint64 first, guint64 count)
{
  guint64 n;

  for (; count > 0; first += n, count -= n)
    {
      guint empty_bits;
      Leaf *leaf = find_leaf (set, first, &empty_bits);
      guint64 mask = word_mask (first, count, &n);

      if (leaf != NULL)
        __atomic_fetch_and (word_of (leaf, first), ~mask, __ATOMIC_RELEASE);
      else
        n = count_empty (first, count, empty_bits);
    }
}

gboolean
img_cluster_set_meets (const ImgClusterSet *set, guint64 first, guint64 count)
{
  guint64 n;

  if (!img_range_fits (first, count, set->limit))
    return TRUE; /* nobody may use what lies there */
  for (; count > 0; first += n, count -= n)
    {
      guint empty_bits;
      Leaf *leaf = find_leaf (set, first, &empty_bits);
      guint64 mask = word_mask (first, count, &n);

      if (leaf == NULL)
        n = count_empty (first, count, empty_bits);
      else if ((__atomic_load_n (word_of (leaf, first), __ATOMIC_ACQUIRE) & mask) != 0)
        return TRUE;
    }
  return FALSE;
}
