#include "fastmlp.h"

const char *fm_status_message(fm_status status)
{
    switch (status) {
    case FM_OK:
        return "success";
    case FM_ERROR_SHAPE:
        return "the sizes of the arguments do not fit together";
    case FM_ERROR_DTYPE:
        return "a dtype that is not taken here, or dtypes that differ";
    case FM_ERROR_VALUE:
        return "an argument outside its range";
    case FM_ERROR_LABEL:
        return "a class index outside the range of the classes";
    case FM_ERROR_MEMORY:
        return "out of memory";
    case FM_ERROR_NOT_FINITE:
        return "a sample that is not finite, or too large for the network's dtype";
    case FM_ERROR_DIVERGED:
        return "the training loss is not finite";
    case FM_ERROR_INTERRUPTED:
        return "stopped on request";
    case FM_ERROR_ISA:
        return "an instruction set that is unknown or that this machine lacks";
    }
    return "unknown status";
}

const char *fm_compiler(void)
{
#if defined(__clang__)
    return "Clang " __clang_version__;
#else
    return "GCC " __VERSION__;
#endif
}
