/* Soft dice over a batch. */
#include "ops.h"
