/* fastmlp.h for other Python extensions, which are not linked with the library: they get its
 * functions from the installed package, once import_fastmlp has been called.
 *
 * Each file that includes this header calls import_fastmlp itself, with the GIL, before any of the
 * functions below; these need neither the GIL nor Python. What fastmlp.h declares besides is not
 * for extensions: they would not load.
 */
#ifndef FASTMLP_PYTHON_H
#define FASTMLP_PYTHON_H

#include <Python.h>

#include "fastmlp.h"

static const fm_api *fm_imported;

/* Returns 0, or -1 with an exception: ImportError where the installed package does not have what
 * the extension was compiled for. */
static inline int import_fastmlp(void)
{
    const fm_api *api = (const fm_api *)PyCapsule_Import("fastmlp._core._C_API", 0);
    if (!api) {
        return -1;
    }
    if (api->version != FM_API_VERSION || api->revision < FM_API_REVISION) {
        PyErr_Format(PyExc_ImportError,
                     "compiled for version %d.%d of fastmlp's C interface, but the installed "
                     "fastmlp has %d.%d: compile this extension again, or install another fastmlp",
                     FM_API_VERSION, FM_API_REVISION, api->version, api->revision);
        return -1;
    }
    fm_imported = api;
    return 0;
}

/* The model in what a network's c_model() returned, which keeps it valid; needs the GIL. NULL with
 * TypeError for any other object. */
static inline const fm_model *fm_get_model(PyObject *capsule)
{
    static const char name[] = "fastmlp.fm_model";
    if (!PyCapsule_IsValid(capsule, name)) {
        PyErr_Format(PyExc_TypeError, "what c_model() returned expected, not %R", capsule);
        return NULL;
    }
    return (const fm_model *)PyCapsule_GetPointer(capsule, name);
}

#define fm_status_message (*fm_imported->status_message)
#define fm_matmul (*fm_imported->matmul)
#define fm_dense_forward (*fm_imported->dense_forward)
#define fm_dense_forward_sparse (*fm_imported->dense_forward_sparse)
#define fm_dense_backward (*fm_imported->dense_backward)
#define fm_activate (*fm_imported->activate)
#define fm_activate_backward (*fm_imported->activate_backward)
#define fm_network_inference_workspace (*fm_imported->network_inference_workspace)
#define fm_network_predict (*fm_imported->network_predict)

#endif
