/* The kernels in use. */
#ifndef FM_ISA_H
#define FM_ISA_H

#include "kernels.h"

/* The table for FM_FLOAT32 or FM_FLOAT64, never NULL. */
const fm_kernels *fm_kernels_for(fm_dtype dtype);

#endif
