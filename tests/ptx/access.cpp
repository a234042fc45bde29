// Memory: addresses of 32 lanes, the allocations and variables that they may touch, loads, stores and atomics.
#include <fmt/format.h>

#include "tests/ptx/lanes.h"

namespace ptx {
namespace {

struct Addresses {
  alignas(64) u64 at[kLanes];  // lanes not in the mask repeat one that is
  u64 low, high;

  // Takes the lanes' addresses from `of(lane)`; `any` becomes the bits that any of them has.
  template <class F>
  u64 fill(Mask m, F&& of) {
    for (int l = 0; l < kLanes; ++l) at[l] = of(l);
    if (m != kAll) {
      const u64 first = at[__builtin_ctz(m)];
      for (int l = 0; l < kLanes; ++l) at[l] = m >> l & 1 ? at[l] : first;
    }
    u64 least = at[0], most = at[0], any = 0;
    for (int l = 0; l < kLanes; ++l) {
      least = std::min(least, at[l]);
      most = std::max(most, at[l]);
      any |= at[l];
    }
    low = least;
    high = most;
    return any;
  }
};

void find_addresses(Warp& w, const Inst& in, Mask m, Addresses& a) {
  const Ref base = in.o[in.count];
  const u64 offset = static_cast<u64>(in.imm);
  u64 any;
  if (base == kNone) {
    any = a.fill(m, [&](int) { return offset; });
  } else if (in.wide_base) {
    const u64* b = w.from<u64>(base);
    any = a.fill(m, [&](int l) { return b[l] + offset; });
  } else {
    const u32* b = w.from<u32>(base);
    any = a.fill(m, [&](int l) { return u64{static_cast<u32>(b[l] + offset)}; });
  }
  if ((any & (in.bytes - 1)) == 0) return;
  for_lanes(m, [&](int l) {
    if (a.at[l] & (in.bytes - 1))
      fault(w, in, Mask{1} << l,
            fmt::format("misaligned address {} for an access of {} bytes", memory::describe(a.at[l]), in.bytes));
  });
}

const std::vector<Variable>& variables_of(const Launch& launch, Space space) {
  return space == Space::shared  ? launch.shared
         : space == Space::local ? launch.kernel->local
                                 : launch.kernel->parameters;
}
Range range_of(const Launch& launch, Space space, u64 at) {
  if (space == Space::global) return memory::find(at);
  for (const Variable& v : variables_of(launch, space)) {
    if (at - v.at < v.bytes) return {v.at, v.at + v.bytes};
  }
  return {};
}
// Each lane's access must lie in one allocation (global) or variable (others).
__attribute__((noinline)) void look_up(Warp& w, const Inst& in, Mask m, Space space, const Addresses& a) {
  for_lanes(m, [&](int l) {
    const Range range = range_of(*w.launch, space, a.at[l]);
    if (range.holds(a.at[l], a.at[l] + in.bytes)) {
      w.launch->caches[in.cache] = {range, space};
      return;
    }
    const bool global = space == Space::global;
    std::string text = fmt::format("out of bounds: {} access of {} bytes at {}", kSpaceNames[static_cast<int>(space)],
                                   in.bytes, global ? memory::describe(a.at[l]) : fmt::format("offset {}", a.at[l]));
    for (const Variable& v : space == Space::shared ? w.launch->shared : std::vector<Variable>{})
      text += fmt::format(", {} is [{}, {})", v.name, v.at, v.at + v.bytes);
    fault(w, in, Mask{1} << l, text);
  });
}

void follow_init(Warp& w, const Inst& in, Mask m, const Addresses& a, bool read, bool write) {
  for_lanes(m, [&](int l) {
    if (read && !memory::is_init(a.at[l], in.bytes))
      fault(w, in, Mask{1} << l, "reads uninitialised memory: " + memory::describe(a.at[l]));
    if (write) memory::mark_init(a.at[l], in.bytes);
  });
}

// Calls body(lanes, host address of each) once for each space that the lanes' addresses are in.
template <class F>
inline void access(Warp& w, const Inst& in, Mask m, bool read, bool write, F&& body) {
  Addresses a;
  find_addresses(w, in, m, a);
  const auto in_space = [&](Mask lanes, Space space, u64 window) {
    Addresses moved;
    const Addresses* use = &a;
    if (window != 0 || lanes != m) {
      moved.fill(lanes, [&](int l) { return a.at[l] - window; });
      use = &moved;
    }
    const MemoryCache& cache = w.launch->caches[in.cache];
    if (cache.space != space || !cache.range.holds(use->low, use->high + in.bytes)) look_up(w, in, lanes, space, *use);
    if (space == Space::global && memory::tracks_init()) [[unlikely]]
      follow_init(w, in, lanes, *use, read, write);
    if (race::on()) [[unlikely]]
      race::note(w, in, lanes, space, use->at, read, write);
    if (w.launch->counts != nullptr) [[unlikely]]
      count::note(w, in, lanes, space, use->at);
    char* const origin = space == Space::global   ? memory::host(0)
                         : space == Space::shared ? w.block->shared.get()
                         : space == Space::local  ? w.local
                                                  : const_cast<char*>(w.launch->parameters.data());
    const u64 stride = space == Space::local ? w.local_stride : 0;
    body(lanes, [&](int l) { return origin + use->at[l] + stride * l; });
  };
  if (in.space != Space::generic) return in_space(m, in.space, 0);
  if (memory::in_arena(a.low) && memory::in_arena(a.high)) return in_space(m, Space::global, 0);
  const Mask shared = m & lanes_where([&](int l) { return a.at[l] - kSharedWindow < kWindowBytes; });
  if (shared != 0) in_space(shared, Space::shared, kSharedWindow);
  if (shared != m) in_space(m & ~shared, Space::global, 0);
}

template <class T, class L>
void load(Warp& w, const Inst& in, Mask m) {
  access(w, in, m, true, false, [&](Mask lanes, auto&& at) {
    for (int k = 0; k < in.count; ++k) {
      alignas(64) L t[kLanes];
      for (int l = 0; l < kLanes; ++l) t[l] = static_cast<L>(reinterpret_cast<const T*>(at(l))[k]);
      if (in.o[k] != kNone) store(w.to<L>(in.o[k]), t, lanes);
    }
  });
}
template <class T, class L>
void store_to(Warp& w, const Inst& in, Mask m) {
  access(w, in, m, false, true, [&](Mask lanes, auto&& at) {
    for (int k = 0; k < in.count; ++k) {
      const L* from = w.from<L>(in.o[k]);
      for_lanes(lanes, [&](int l) { reinterpret_cast<T*>(at(l))[k] = static_cast<T>(from[l]); });
    }
  });
}
template <class T>
void atomic(Warp& w, const Inst& in, Mask m) {
  access(w, in, m, true, true, [&](Mask lanes, auto&& at) {
    alignas(64) T before[kLanes];
    const T* b = w.from<T>(in.o[2]);
    for_lanes(lanes, [&](int l) {
      T& place = *reinterpret_cast<T*>(at(l));
      before[l] = place;
      place = in.flags == kAdd   ? static_cast<T>(bits_of(place) + bits_of(b[l]))
              : in.flags == kMin ? std::min(place, b[l])
                                 : std::max(place, b[l]);
    });
    if (in.o[0] != kNone) store(w.to<T>(in.o[0]), before, lanes);
  });
}

// What f makes of a number of the C++ type that a type of PTX stands for; what has no sign, floats too, is unsigned.
template <class F>
Execute for_type(Type type, F&& f) {
  const bool is_signed = type.kind == 's';
  switch (type.bytes) {
    case 1: return is_signed ? f(s8{}) : f(u8{});
    case 2: return is_signed ? f(s16{}) : f(u16{});
    case 4: return is_signed ? f(s32{}) : f(u32{});
    default: return is_signed ? f(s64{}) : f(u64{});
  }
}

}  // namespace

// ldmatrix of 8 x 8 numbers of two bytes: lane 8 k + r names row r of matrix k, of 16 bytes. With g = lane / 4 and
// t = lane % 4 a lane takes elements 2t and 2t + 1 of row g; turned (flags), of column g.
// Lanes that name no row may name anything.
void load_matrices(Warp& w, const Inst& in, Mask m) {
  const Mask naming = in.count == 4 ? kAll : (Mask{1} << 8 * in.count) - 1;
  access(w, in, m & naming, true, false, [&](Mask, auto&& at) {
    const auto number = [&](int matrix, int row, int column) {
      return u32{reinterpret_cast<const u16*>(at(8 * matrix + row))[column]};
    };
    for (int k = 0; k < in.count; ++k) {
      alignas(64) u32 t[kLanes];
      for (int l = 0; l < kLanes; ++l) {
        const int g = l / 4, first = l % 4 * 2;
        t[l] = in.flags != 0 ? number(k, first, g) | number(k, first + 1, g) << 16
                             : number(k, g, first) | number(k, g, first + 1) << 16;
      }
      if (in.o[k] != kNone) store(w.to<u32>(in.o[k]), t, m);
    }
  });
}
Execute load_of(Type type, int lane) {
  return for_type(type, [&]<class T>(T) { return lane == 8 ? load<T, u64> : load<T, u32>; });
}
Execute store_of(Type type, int lane) {
  return for_type(type, [&]<class T>(T) { return lane == 8 ? store_to<T, u64> : store_to<T, u32>; });
}
Execute atomic_of(Type type) {
  return for_type(type, []<class T>(T) -> Execute { return atomic<T>; });
}

}  // namespace ptx
