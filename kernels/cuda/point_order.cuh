// point_order: an order of points in 1 to 3 dimensions in which near ones stand close together, whatever scales there
// are among them: neither clusters nor far outliers nor points all in one place take the order away from the others.
#pragma once

#include "kernels/cuda/device.cuh"

namespace scalelab::cuda {

// Points (n, d), d 1 .. 3, n < 2^31, in that order: `ordered` (n) receives x, y, z (0 beyond the dimensions given), and
// in w the bits of the point's index, of which the first is first_index. Boxes of `run` points side by side, a power of
// two, at least 32, will be as small as they can be had cheaply. Queued on the stream; nothing waits.
void order_points(View<const float> points, float4* ordered, int run, Context& context, int first_index = 0);

}  // namespace scalelab::cuda
