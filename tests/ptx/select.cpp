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

class Selector {
 public:
  Selector(const Statement& statement, Inst& inst, Kernel& into) : s(statement), in(inst), kernel(into) {
    const auto last = std::find_if(s.parts.rbegin(), s.parts.rend(), [](auto part) { return type_named(part).kind; });
    if (last != s.parts.rend()) type = type_named(*last);
  }

  void select() {
    using Part = void (Selector::*)();
    static const std::unordered_map<std::string_view, Part> parts{
        {"mov", &Selector::move}, {"cvt", &Selector::convert},         {"ld", &Selector::load},
        {"st", &Selector::store}, {"ldmatrix", &Selector::load_tiles}, {"atom", &Selector::atomic}};
    const auto part = parts.find(s.parts[0]);
    (this->*(part == parts.end() ? &Selector::by_opcode : part->second))();
    const bool arrived = !kernel.code.empty() && kernel.code.back().kind == Kind::cluster_arrive;
    if (arrived != (in.kind == Kind::cluster_wait)) unknown("a cluster's barrier in two parts");
  }

 private:
  const Statement& s;
  Inst& in;
  Kernel& kernel;
  Type type;     // the last part of the opcode that is one
  int lane = 0;  // of a memory access: bytes a lane of its registers

  // --- operands
  const Operand& operand(std::size_t i) const {
    if (i >= s.operands.size()) unknown("too few operands");
    return s.operands[i];
  }
  // The registers of {a, b} or of a alone.
  static std::span<const Operand> parts_of(const Operand& o) {
    return o.kind == Operand::vector ? std::span(o.parts) : std::span(&o, 1);
  }
  std::vector<Operand> registers() const {
    std::vector<Operand> all;
    for (const Operand& o : s.operands) all.insert(all.end(), parts_of(o).begin(), parts_of(o).end());
    return all;
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

  // --- one register for each operand
  void by_form(const std::string& opcode, const std::vector<Operand>& operands) {
    const Form* form = find_form(opcode);
    if (form == nullptr) unknown("opcode");
    in.run = form->run;
    in.kind = form->kind;
    in.flags = form->flags;
    in.meet = form->meet;
    auto next = operands.begin();
    const auto take = [&]() -> const Operand& {
      if (next == operands.end()) unknown("too few operands");
      return *next++;
    };
    for (std::size_t i = 0; i < form->results.size(); ++i) result(static_cast<int>(i), take(), form->results[i]);
    if (in.kind == Kind::barrier && take().bits != 0) unknown("named barriers");
    for (std::size_t i = 0; i < form->sources.size(); ++i) {
      const std::size_t place = std::max<std::size_t>(form->results.size(), 2) + i;
      const Operand& o = take();
      in.o[place] = source(o, form->sources[i]);
      if (o.negated) in.imm |= s64{1} << place;
    }
    if (in.kind == Kind::sync && in.meet != Meet::all) in.o.back() = source(take(), 4);
    if (in.kind == Kind::branch && take().kind != Operand::name) unknown("a label was expected");
    if (next != operands.end()) unknown("number of operands");
  }
  void by_opcode() { by_form(std::string(s.opcode) + (s.paired ? "|" : ""), registers()); }
  void convert() {
    const bool wide = s.operands.size() == 2 && operand(1).type.bytes == 8 && type.bytes < 8;
    by_form(std::string(s.opcode) + (wide ? ".wide" : ""), s.operands);
  }
  void move() {
    const Operand &to = operand(0), &from = operand(1);
    const char* const how = from.kind == Operand::vector ? ".pack" : to.kind == Operand::vector ? ".unpack" : "";
    from.kind == Operand::name ? by_form(std::string(from.text), {to})
                               : by_form(std::string(s.opcode) + how, registers());
  }

  // --- memory: values at the first places, the address behind them
  void access(const Operand& value, const Operand& at, bool reads) {
    if (s.has("acquire") || s.has("release") || s.has("acq_rel")) unknown("fences within accesses");
    if (s.opcode.find("::") != std::string_view::npos) unknown("distributed shared memory");
    in.strong = s.has("volatile") || s.has("relaxed");
    for (int i = 0; i < static_cast<int>(std::size(kSpaceNames)); ++i) {
      if (s.has(kSpaceNames[i])) in.space = static_cast<Space>(i);
    }
    const auto values = parts_of(value);
    in.count = static_cast<u8>(values.size());
    in.bytes = static_cast<u8>(type.bytes * in.count);
    if (in.count > 4 || in.bytes > 16) unknown("vector");
    lane = type.lane();
    for (const auto& v : values) lane = v.kind == Operand::reg ? v.type.lane() : lane;
    for (int k = 0; k < in.count; ++k) {
      if (reads) result(k, values[k], lane);
      if (!reads) in.o[k] = source(values[k], lane);
    }
    if (at.kind != Operand::address) unknown("an address was expected");
    in.imm = static_cast<s64>(at.bits + (in.space == Space::generic && at.space == Space::shared ? kSharedWindow : 0));
    in.wide_base = at.type.bytes == 8;
    if (at.id >= 0) in.o[in.count] = at.id;
  }
  void load() {
    access(operand(0), operand(1), true);
    in.run = load_of(type, lane);
  }
  void store() {
    access(operand(1), operand(0), false);
    if (in.space == Space::param) unknown("st.param");
    in.run = store_of(type, lane);
  }
  void load_tiles() {
    if (!s.has("m8n8") || !s.has("b16") || !s.has("shared")) unknown("shape, type or space of ldmatrix");
    access(operand(0), operand(1), true);
    if (lane != 4) unknown("a result register of another width was expected");
    in.bytes = 16;
    in.kind = Kind::sync;
    in.meet = Meet::all;
    in.flags = s.has("trans");
    in.run = load_matrices;
  }
  void atomic() {
    if (s.operands.size() != 3 || type.kind == 'f' || type.bytes < 4 || type.bytes > 8) unknown("type");
    if (!s.has("add") && !s.has("min") && !s.has("max")) unknown("atomic operation");
    in.flags = s.has("add") ? kAdd : s.has("min") ? kMin : kMax;
    access(operand(0), operand(1), true);
    if (in.count != 1 || lane != type.bytes) unknown("one result register, as wide as the type, was expected");
    in.o[2] = source(operand(2), type.bytes);
    in.run = atomic_of(type);
  }
};

}  // namespace

void select(const Statement& statement, Inst& inst, Kernel& kernel) { Selector(statement, inst, kernel).select(); }

}  // namespace ptx
