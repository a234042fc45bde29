// point_tree: points in up to three dimensions, sorted into a binary tree of tight boxes. Median splits of the widest
// axis, so that clusters, lines and far outliers cost no more than uniform points. CPU only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "scalelab/backend.h"
#include "scalelab/view.h"

namespace scalelab::cpu {

struct TreePoint {
  float x[3];  // coordinates the point has not are 0, which leaves every canonical distance as it is
  int id;
};

class PointTree {
 public:
  // Nodes stand in depth-first order: the left child of node i is i + 1, its right child i + right.
  struct Node {
    float low[3], high[3];  // the tight box of its points
    std::int64_t begin, end;
    std::int64_t right;  // 0: a leaf
    int least;           // id of its points: decides where all are equally far, as they are from far enough away
    bool leaf() const { return right == 0; }
  };

  // References: leaves of at most kLeaf points. Of points with equal coordinates only the `copies` of lowest id are
  // kept, since no query can have more of them among its `copies` nearest; they share a leaf, however many they are.
  // A leaf's points stand in order of id.
  static PointTree of_references(View<const float> points, int copies, Context& context) {
    return PointTree(points, kLeaf, 1, copies, context);
  }
  // Queries: all leaves but one hold `granule` points, or a multiple where all points of a leaf coincide.
  static PointTree of_queries(View<const float> points, int granule, Context& context) {
    return PointTree(points, granule, granule, std::numeric_limits<std::int64_t>::max(), context);
  }

  const std::vector<TreePoint>& points() const { return points_; }
  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  static constexpr std::int64_t kLeaf = 8;  // fewer: more boxes to look at; more: more distances to compute

  PointTree(View<const float> points, std::int64_t leaf, std::int64_t granule, std::int64_t copies, Context& context)
      : points_(points.extent(0)), leaf_(leaf), granule_(granule), copies_(copies) {
    const std::int64_t n = points.extent(0), d = points.extent(1);
    for (std::int64_t i = 0; i < n; ++i) {
      TreePoint& point = points_[i];
      point = {{0, 0, 0}, static_cast<int>(i)};
      for (std::int64_t c = 0; c < d; ++c) point.x[c] = points(i, c);
    }
    if (n == 0) return;
    // The top first, then its branches side by side (eight a thread: their sizes differ), then all in order.
    const std::int64_t branch = std::max<std::int64_t>(n / (8 * context.threads()), 1024);
    std::vector<Node> top, branches;
    build(0, n, branch, top, &branches);
    std::vector<std::vector<Node>> built(branches.size());
    Context silent(cpu_backend(), 0, context.threads());  // progress belongs to the op, not to this step
    parallel_for(silent, static_cast<std::int64_t>(branches.size()),
                 [&](std::int64_t i) { build(branches[i].begin, branches[i].end, 0, built[i], nullptr); });
    nodes_.reserve(top.size() + 2 * (n / leaf_ + 1));
    std::size_t next_top = 0, next_branch = 0;
    join(top, built, next_top, next_branch);
    for (std::size_t i = nodes_.size(); i-- > 0;) {  // children stand behind their parents
      Node& node = nodes_[i];
      node.least = node.leaf() ? points_[node.begin].id : std::min(nodes_[i + 1].least, nodes_[i + node.right].least);
    }
  }

  // Builds the subtree of [begin, end) into `out`; with `branches`, a range of at most `branch` points is put there
  // instead and leaves a node with begin = end in `out`.
  void build(std::int64_t begin, std::int64_t end, std::int64_t branch, std::vector<Node>& out,
             std::vector<Node>* branches) {
    Node node{{}, {}, begin, end, 0, 0};
    if (branches != nullptr && end - begin <= branch) {
      branches->push_back(node);
      node.end = begin;
      out.push_back(node);
      return;
    }
    TreePoint* p = points_.data();
    int axis = 0;
    for (int c = 0; c < 3; ++c) {
      node.low[c] = node.high[c] = p[begin].x[c];
      for (std::int64_t i = begin + 1; i < end; ++i) {
        node.low[c] = std::min(node.low[c], p[i].x[c]);
        node.high[c] = std::max(node.high[c], p[i].x[c]);
      }
      if (node.high[c] - node.low[c] > node.high[axis] - node.low[axis]) axis = c;
    }
    const std::size_t self = out.size();
    if (node.low[axis] == node.high[axis]) {  // all points coincide
      if (end - begin > copies_) {
        std::nth_element(p + begin, p + begin + copies_, p + end,
                         [](const TreePoint& a, const TreePoint& b) { return a.id < b.id; });
        node.end = begin + copies_;
      }
    }
    out.push_back(node);
    if (node.low[axis] == node.high[axis] || end - begin <= leaf_) {
      std::sort(p + node.begin, p + node.end, [](const TreePoint& a, const TreePoint& b) { return a.id < b.id; });
      return;
    }
    std::int64_t middle = begin + ((end - begin) / 2 + granule_ - 1) / granule_ * granule_;
    std::nth_element(p + begin, p + middle, p + end,
                     [axis](const TreePoint& a, const TreePoint& b) { return a.x[axis] < b.x[axis]; });
    if (granule_ == 1) {  // points of equal coordinates stay on one side, so that copies meet in one node
      const float split = p[middle].x[axis];
      const auto less = [axis, split](const TreePoint& a) { return a.x[axis] < split; };
      const std::int64_t below = std::partition(p + begin, p + middle, less) - p;
      if (below > begin) {
        middle = below;
      } else {
        middle =
            std::partition(p + middle, p + end, [axis, split](const TreePoint& a) { return a.x[axis] == split; }) - p;
      }
    }
    build(begin, middle, branch, out, branches);
    out[self].right = static_cast<std::int64_t>(out.size() - self);
    build(middle, end, branch, out, branches);
  }

  void join(const std::vector<Node>& top, const std::vector<std::vector<Node>>& built, std::size_t& next_top,
            std::size_t& next_branch) {
    const Node node = top[next_top++];
    if (node.begin == node.end) {
      const std::vector<Node>& branch = built[next_branch++];
      nodes_.insert(nodes_.end(), branch.begin(), branch.end());
      return;
    }
    const std::size_t self = nodes_.size();
    nodes_.push_back(node);
    if (node.leaf()) return;
    join(top, built, next_top, next_branch);
    nodes_[self].right = static_cast<std::int64_t>(nodes_.size() - self);
    join(top, built, next_top, next_branch);
  }

  std::vector<TreePoint> points_;
  std::vector<Node> nodes_;
  std::int64_t leaf_, granule_, copies_;
};

}  // namespace scalelab::cpu
