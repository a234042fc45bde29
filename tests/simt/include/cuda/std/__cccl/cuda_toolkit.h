// CCCL looks for a CUDA Toolkit on the include path. One found there is not the one these programs are compiled with:
// this says that there is none, which CCCL supports.
#pragma once
#define __CCCL_CUDA_TOOLKIT_H
#define _CCCL_HAS_CTK() 0
#define _CCCL_CTK() (0, 0)
#define _CCCL_CTK_BELOW(...) 0
#define _CCCL_CTK_AT_LEAST(...) 0
