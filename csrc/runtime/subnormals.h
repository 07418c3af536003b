/* Numbers below the smallest of full precision, 1e-38 in float32: every operation that meets one
 * takes a hundred cycles. */
#ifndef FM_SUBNORMALS_H
#define FM_SUBNORMALS_H

#include <stdint.h>

/* Have the calling thread take and give zeros for them, or keep them as they are; both return what
 * held before, for fm_restore_subnormals. */
uint64_t fm_flush_subnormals(void);
uint64_t fm_keep_subnormals(void);
void fm_restore_subnormals(uint64_t before);

#endif
