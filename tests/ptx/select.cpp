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
  Type type;  // the last part of the opcode that is one

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

  // --- memory
  void data(const Operand& o, bool reads) {
    const auto values = parts_of(o);
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
};

}  // namespace

void select(const Statement& statement, Inst& inst, Kernel& kernel) { Selector(statement, inst, kernel).select(); }

}  // namespace ptx
