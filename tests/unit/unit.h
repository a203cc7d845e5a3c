/* cmocka, which wants four other headers in front of it. */
#ifndef STOWAGE_TESTS_UNIT_H
#define STOWAGE_TESTS_UNIT_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#endif
