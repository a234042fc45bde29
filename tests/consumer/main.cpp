// What another program needs of the library: five points, and the two nearest neighbours of each.
#include <scalelab/scalelab.h>

#include <cstdio>
#include <vector>

int main() {
  const std::vector<float> points = {0, 0, 1, 0, 0, 2, 5, 5, 6, 5};  // (5, 2)
  const auto n = points.size() / 2;
  const int k = 2;
  const scalelab::Backend* cuda = scalelab::cuda_backend();  // null where no GPU answers
  scalelab::Context context(cuda != nullptr ? *cuda : scalelab::cpu_backend());
  const scalelab::Input<float> references(context, points, {n, 2});
  const scalelab::Buffer<int> indices(context, {n, k});
  context.backend().knn(references, references, indices, {}, context);
  for (const int index : indices.to_host()) std::printf("%d ", index);  // each point finds itself, then the other
  std::printf("by scalelab %d.%d.%d\n", SCALELAB_VERSION_MAJOR, SCALELAB_VERSION_MINOR, SCALELAB_VERSION_PATCH);
}
