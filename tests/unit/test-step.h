/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How far loops over all cases that one thread walks alone go at once. ThreadSanitizer looks for races, of which there
 * are none to be found there, and makes each case ten times as long: it sees one of some. The plain build and
 * AddressSanitizer see all. */

#pragma once

#ifdef __SANITIZE_THREAD__
#define TEST_STEP 7
#else
#define TEST_STEP 1
#endif
