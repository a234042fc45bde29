// scalelab: the whole library in one header: where ops run (backend.h), memory (view.h, buffer.h), and every op.
#pragma once

#include "scalelab/backend.h"
#include "scalelab/buffer.h"
#include "scalelab/ceilings.h"
#include "scalelab/communicator.h"
#include "scalelab/grid.h"
#include "scalelab/kmeans.h"
#include "scalelab/knn.h"
#include "scalelab/math.h"
#include "scalelab/max_margin.h"
#include "scalelab/mlp.h"
#include "scalelab/processors.h"
#include "scalelab/random.h"
#include "scalelab/spiral.h"
#include "scalelab/version.h"
#include "scalelab/view.h"
#include "scalelab/xor_sgd.h"
