// The choice of what an instruction does, by its opcode. What is not known here is refused.
#include "tests/ptx/lanes.h"
#include "tests/ptx/parse.h"

namespace ptx {
namespace {

[[noreturn]] void unknown(const char* what) {
  throw std::runtime_error(std::string("not known to this machine (") + what + ")");
}

// A place among the kernel's constants that holds the number for every lane; of a predicate (no bytes) a mask.
Ref constant(Kernel& kernel, u64 bits, int bytes) {
  if (bytes == 4) bits &= 0xffffffff;
  const auto [found, is_first] = kernel.constant_places.try_emplace({bits, bytes}, 0);
  if (!is_first) return found->second;
  auto& pool = kernel.constants;
  const std::size_t at = pool.size();
  pool.resize(at + std::max<std::size_t>(64, static_cast<std::size_t>(bytes * kLanes)));
  for (int lane = 0; lane < kLanes && bytes > 0; ++lane) std::memcpy(&pool[at + lane * bytes], &bits, bytes);
  const Mask mask = bits != 0 ? kAll : 0;
  if (bytes == 0) std::memcpy(&pool[at], &mask, sizeof(mask));
  return found->second = ~static_cast<Ref>(at);
}

// What a special register holds, in each lane.
template <auto kOf>
void read_special(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  for (int l = 0; l < kLanes; ++l) t[l] = kOf(w, static_cast<u32>(l));
  store(w.to<u32>(in.o[0]), t, m);
}
Execute special_named(std::string_view name) {
  static const std::unordered_map<std::string_view, Execute> all{
      {"%tid.x", read_special<[](const Warp& w, u32 l) { return (w.index * kLanes + l) % w.launch->block; }>},
      {"%ntid.x", read_special<[](const Warp& w, u32) { return w.launch->block; }>},
      {"%ctaid.x", read_special<[](const Warp& w, u32) { return w.block->index; }>},
      {"%nctaid.x", read_special<[](const Warp& w, u32) { return w.launch->grid; }>},
      {"%laneid", read_special<[](const Warp&, u32 l) { return l; }>},
      {"%lanemask_le", read_special<[](const Warp&, u32 l) { return (2U << l) - 1; }>},
      {"%lanemask_ge", read_special<[](const Warp&, u32 l) { return ~((1U << l) - 1); }>}};
  const auto found = all.find(name);
  if (found == all.end()) unknown("special register");
  return found->second;
}
// Two halves of so many bits.
template <class Whole, int kBits>
void unpack(Warp& w, const Inst& in, Mask m) {
  const Whole* from = w.from<Whole>(in.o[2]);
  alignas(64) u32 t[kLanes];
  for (int half = 1; half >= 0; --half) {
    if (in.o[half] == kNone) continue;
    for (int l = 0; l < kLanes; ++l) t[l] = static_cast<u32>(from[l] >> half * kBits & ((u64{1} << kBits) - 1));
    store(w.to<u32>(in.o[half]), t, m);
  }
}

class Selector {
 public:
  Selector(const Statement& statement, Inst& inst, Kernel& into) : s(statement), in(inst), kernel(into) {
    const auto last = std::find_if(s.parts.rbegin(), s.parts.rend(), [](auto part) { return type_named(part).kind; });
    if (last != s.parts.rend()) type = type_named(*last);
  }

  void select() {
    using Part = void (Selector::*)();
    static const std::unordered_map<std::string_view, Part> parts{
        {"mov", &Selector::move},    {"cvt", &Selector::convert}, {"cvta", &Selector::convert_address},
        {"ld", &Selector::load},     {"st", &Selector::store},    {"ldmatrix", &Selector::load_tiles},
        {"atom", &Selector::atomic}, {"mma", &Selector::multiply}};
    const auto part = parts.find(s.parts[0]);
    part != parts.end() ? (this->*part->second)() : by_form(s.opcode);
    const bool arrived = !kernel.code.empty() && kernel.code.back().kind == Kind::cluster_arrive;
    if (arrived != (in.kind == Kind::cluster_wait)) unknown("a cluster's barrier in two parts");
  }

 private:
  const Statement& s;
  Inst& in;
  Kernel& kernel;
  Type type;  // the last part of the opcode that is one

  // --- operands
  const Operand& operand(std::size_t i) const {
    if (i >= s.operands.size()) unknown("too few operands");
    return s.operands[i];
  }
  // A source of so many bytes a lane; 0: a predicate.
  Ref source(const Operand& o, int bytes) {
    if (o.kind == Operand::number) return constant(kernel, o.bits, bytes);
    if (o.kind != Operand::reg || o.type.lane() != bytes) unknown("a register of another width was expected");
    return o.id;
  }
  void result(int place, const Operand& o, int bytes) {
    if (o.kind == Operand::sink) return;
    if (o.kind != Operand::reg || o.type.lane() != bytes) unknown("a result register of another width was expected");
    in.o[place] = o.id;
    in.defs |= 1 << place;
  }
  void address(const Operand& o, int place) {
    if (o.kind != Operand::address) unknown("an address was expected");
    in.imm = static_cast<s64>(o.bits + (in.space == Space::generic && o.space == Space::shared ? kSharedWindow : 0));
    if (o.id < 0) return;
    in.o[place] = o.id;
    in.wide_base = o.type.bytes == 8;
  }
  void find_space() {
    if (s.has("acquire") || s.has("release") || s.has("acq_rel")) unknown("fences within accesses");
    in.strong = s.has("volatile") || s.has("relaxed");
    in.space = s.has("global")   ? Space::global
               : s.has("shared") ? Space::shared
               : s.has("local")  ? Space::local
               : s.has("param")  ? Space::param
                                 : Space::generic;
    if (s.opcode.find("::") != std::string_view::npos) unknown("distributed shared memory");
  }

  // --- one register for each operand
  void by_form(std::string_view opcode) {
    const Form* form = find_form(opcode);
    if (form == nullptr) unknown("opcode");
    in.kind = form->kind;
    in.run = form->run;
    in.flags = form->flags;
    std::size_t next = 0;
    if (form->result != kNothing) {
      result(0, operand(0), form->result);
      if (operand(0).second >= 0) {
        if (in.kind != Kind::sync) unknown("a second result");
        in.o[1] = operand(0).second;
        in.defs |= 2;
      }
      ++next;
    }
    if (in.kind == Kind::barrier && (operand(next).kind != Operand::number || operand(next++).bits != 0))
      unknown("named barriers");
    for (std::size_t i = 0; i < form->sources.size(); ++i, ++next) {
      in.o[2 + i] = source(operand(next), form->sources[i]);
      if (operand(next).negated) in.imm |= s64{4} << i;
    }
    if (in.kind == Kind::sync) in.o.back() = source(operand(next++), 4);
    if (opcode == "bar.warp.sync") in.meet = Meet::anywhere;
    if (in.kind == Kind::branch && operand(next++).kind != Operand::name) unknown("a label was expected");
    if (next < s.operands.size()) unknown("number of operands");
  }
  void convert() {
    const bool wide = s.operands.size() == 2 && operand(1).type.bytes == 8 && type.bytes < 8;
    by_form(std::string(s.opcode) + (wide ? ".wide" : ""));
  }
  void move() {
    const Operand &to = operand(0), &from = operand(1);
    if (from.kind == Operand::name) {
      if (type.bytes != 4) unknown("special register of another width");
      result(0, to, 4);
      in.run = special_named(from.text);
    } else if (from.kind == Operand::vector || to.kind == Operand::vector) {
      const auto& halves = from.kind == Operand::vector ? from.parts : to.parts;
      if (halves.size() != 2 || (type.bytes != 4 && type.bytes != 8)) unknown("vector");
      for (int i = 0; i < 2; ++i) {
        if (from.kind == Operand::vector)
          in.o[2 + i] = source(halves[i], 4);
        else
          result(i, halves[i], 4);
      }
      if (from.kind == Operand::vector) {
        result(0, to, type.bytes);
        in.run = find_form(type.bytes == 8 ? "pack.b64" : "pack.b32")->run;
      } else {
        in.o[2] = source(from, type.bytes);
        in.run = type.bytes == 8 ? unpack<u64, 32> : unpack<u32, 16>;
      }
    } else {
      by_form(s.opcode);
    }
  }
  // Between a generic address and one of global memory, which are the same, or of shared memory.
  void convert_address() {
    find_space();
    if (type.bytes != 8 || (in.space != Space::global && in.space != Space::shared)) unknown("width or space");
    result(0, operand(0), 8);
    in.o[2] = source(operand(1), 8);
    const u64 window = in.space == Space::shared ? kSharedWindow : 0;
    in.o[3] = constant(kernel, s.has("to") ? -window : window, 8);
    in.run = find_form("add.u64")->run;
  }

  // --- memory
  void data(const Operand& o, bool reads) {
    const std::vector<Operand> one{o};
    const auto& values = o.kind == Operand::vector ? o.parts : one;
    in.count = static_cast<u8>(values.size());
    in.bytes = static_cast<u8>(type.bytes * in.count);
    if (in.count > 4 || in.bytes > 16) unknown("vector");
    int lane = type.lane();
    for (const auto& v : values) lane = v.kind == Operand::reg ? v.type.lane() : lane;
    for (int k = 0; k < in.count; ++k) {
      if (reads)
        result(k, values[k], lane);
      else
        in.o[1 + k] = source(values[k], lane);
    }
    in.run = reads ? load_of(type, lane) : store_of(type, lane);
  }
  void load() {
    find_space();
    data(operand(0), true);
    address(operand(1), in.count);
  }
  void store() {
    find_space();
    if (in.space == Space::param) unknown("st.param");
    data(operand(1), false);
    address(operand(0), 0);
  }
  void load_tiles() {
    if (!s.has("m8n8") || !s.has("b16") || !s.has("shared")) unknown("shape, type or space of ldmatrix");
    find_space();
    const auto& tiles = operand(0).parts;
    in.count = static_cast<u8>(tiles.size());
    in.bytes = 16;
    for (int k = 0; k < in.count; ++k) result(k, tiles[k], 4);
    address(operand(1), in.count);
    in.kind = Kind::sync;
    in.meet = Meet::all;
    in.run = matrix_load_of(s.has("trans"));
  }
  void atomic() {
    if (s.operands.size() != 3 || type.kind == 'f' || type.bytes < 4 || type.bytes > 8) unknown("type");
    if (!s.has("add") && !s.has("min") && !s.has("max")) unknown("atomic operation");
    find_space();
    in.flags = s.has("add") ? kAdd : s.has("min") ? kMin : kMax;
    result(0, operand(0), type.bytes);
    in.bytes = static_cast<u8>(type.bytes);
    in.count = 1;
    address(operand(1), 1);
    in.o[2] = source(operand(2), type.bytes);
    in.run = atomic_of(type);
  }
  void multiply() {
    if (s.opcode != "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") unknown("shape or types of mma");
    in.kind = Kind::sync;
    in.meet = Meet::all;
    std::size_t place = 0;
    for (const Operand& fragment : s.operands) {
      for (const Operand& part : fragment.parts) {
        if (place >= in.o.size()) unknown("fragments");
        if (place < 4)
          result(static_cast<int>(place), part, 4);
        else
          in.o[place] = source(part, 4);
        ++place;
      }
    }
    if (place != in.o.size()) unknown("fragments");
    in.run = multiply_tiles;
  }
};

}  // namespace

void select(const Statement& statement, Inst& inst, Kernel& kernel) { Selector(statement, inst, kernel).select(); }

}  // namespace ptx
