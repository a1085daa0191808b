/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One fuzz target: what libFuzzer calls, and what the standalone runner calls in its place. */

#pragma once

#include <stddef.h>
#include <stdint.h>

int    LLVMFuzzerInitialize   (int *argc, char ***argv);
int    LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator (uint8_t *data, size_t size, size_t max_size, unsigned int seed);
