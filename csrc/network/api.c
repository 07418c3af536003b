/* The table of functions for other libraries. */
#include "fastmlp.h"

const fm_api *fm_get_api(void)
{
    static const fm_api api = {
        .version = FM_API_VERSION,
        .revision = FM_API_REVISION,
        .status_message = fm_status_message,
        .matmul = fm_matmul,
        .dense_forward = fm_dense_forward,
        .dense_forward_sparse = fm_dense_forward_sparse,
        .dense_backward = fm_dense_backward,
        .activate = fm_activate,
        .activate_backward = fm_activate_backward,
        .network_inference_workspace = fm_network_inference_workspace,
        .network_predict = fm_network_predict,
    };
    return &api;
}
