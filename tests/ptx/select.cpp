// The choice of what an instruction does, by its opcode. What is not known here is refused.
#include "tests/ptx/lanes.h"
#include "tests/ptx/parse.h"

namespace ptx {
namespace {

[[noreturn]] void unknown(const char* what) {
  throw std::runtime_error(std::string("not known to this machine (") + what + ")");
}

class Selector {
 public:
  Selector(const Statement& statement, Inst& inst, Builder& builder)
      : s(statement), in(inst), b(builder), type(statement.type()) {}

  void select() {
    using Part = void (Selector::*)();
    static const std::unordered_map<std::string_view, Part> parts{{"mov", &Selector::move},
                                                                  {"cvta", &Selector::convert_address},
                                                                  {"ld", &Selector::load},
                                                                  {"st", &Selector::store},
                                                                  {"ldmatrix", &Selector::load_tiles},
                                                                  {"atom", &Selector::atomic},
                                                                  {"red", &Selector::atomic},
                                                                  {"membar", &Selector::order},
                                                                  {"fence", &Selector::order},
                                                                  {"shfl", &Selector::exchange},
                                                                  {"vote", &Selector::ask},
                                                                  {"match", &Selector::match},
                                                                  {"redux", &Selector::reduce},
                                                                  {"mma", &Selector::multiply},
                                                                  {"bar", &Selector::barrier},
                                                                  {"barrier", &Selector::barrier},
                                                                  {"bra", &Selector::branch},
                                                                  {"brx", &Selector::indexed_branch},
                                                                  {"ret", &Selector::leave},
                                                                  {"exit", &Selector::leave},
                                                                  {"trap", &Selector::trap},
                                                                  {"nanosleep", &Selector::yield}};
    const auto part = parts.find(s.parts[0]);
    if (part == parts.end()) return by_form();
    (this->*part->second)();
  }

 private:
  const Statement& s;
  Inst& in;
  Builder& b;
  const Type type;

  // --- operands
  const Operand& operand(std::size_t i) const {
    if (i >= s.operands.size()) unknown("too few operands");
    return s.operands[i];
  }
  // A source of so many bytes a lane; 0: a predicate.
  Ref source(const Operand& o, int bytes) {
    if (o.kind == Operand::number) return b.constant(o.bits, bytes);
    if (o.kind == Operand::symbol) {
      Space space;
      return b.constant(b.symbol(o.name, space) + o.offset, bytes);
    }
    if (o.kind != Operand::reg || b.register_type(o.id).lane() != bytes)
      unknown("a register of another width was expected");
    return o.id;
  }
  void result(int place, int id, int bytes) {
    if (id < 0) return;
    if (b.register_type(id).lane() != bytes) unknown("a result register of another width was expected");
    in.o[place] = id;
    in.defs |= 1 << place;
  }
  void address(const Operand& o, int place) {
    if (o.kind != Operand::address) unknown("an address was expected");
    in.imm = o.offset;
    if (!o.name.empty()) {
      if (o.id >= 0) unknown("symbol and register in one address");
      Space space;
      in.imm += static_cast<s64>(b.symbol(o.name, space));
      if (in.space == Space::generic) in.imm += static_cast<s64>(window_of(space));
    }
    if (o.id < 0) return;
    in.o[place] = o.id;
    in.wide_base = b.register_type(o.id).bytes == 8;
  }
  static u64 window_of(Space space) {
    return space == Space::shared  ? kSharedWindow
           : space == Space::local ? kLocalWindow
           : space == Space::param ? kParamWindow
                                   : 0;
  }
  void find_space() {
    in.strong = s.has("acquire") || s.has("release") || s.has("acq_rel") ? 2 : s.has("volatile") || s.has("relaxed");
    in.space = s.has("global") || s.has("const")         ? Space::global
               : s.has("shared") || s.has("shared::cta") ? Space::shared
               : s.has("local")                          ? Space::local
               : s.has("param") || s.has("param::entry") ? Space::param
                                                         : Space::generic;
    if (s.has("shared::cluster")) unknown("distributed shared memory");
  }

  // --- one register for each operand
  void by_form() {
    const Form* form = find_form(s.opcode);
    if (s.parts[0] == "cvt" && type.bytes < 8 && s.operands.size() == 2 && operand(1).kind == Operand::reg &&
        b.register_type(operand(1).id).bytes == 8)
      form = find_form(std::string(s.opcode) + ".wide");
    if (form == nullptr) unknown("opcode");
    if (static_cast<int>(s.operands.size()) != 1 + form->sources) unknown("number of operands");
    result(0, operand(0).id, form->bytes[0]);
    for (int i = 1; i <= form->sources; ++i) {
      in.o[i] = source(operand(i), form->bytes[i]);
      in.flags |= operand(i).negated ? 1 << (i - 1) : 0;
    }
    in.run = form->run;
  }
  void move() {
    const Operand &to = operand(0), &from = operand(1);
    const bool packs = from.kind == Operand::vector;
    if (packs || to.kind == Operand::vector) {
      const auto& parts = packs ? from.parts : to.parts;
      const int count = static_cast<int>(parts.size());
      if (type.bytes > 8) unknown("b128");
      in.count = static_cast<u8>(count);
      in.flags = static_cast<u8>(8 * type.bytes / count);
      if (packs)
        result(0, to.id, type.lane());
      else
        in.o[count] = source(from, type.lane());
      for (int i = 0; i < count; ++i) {
        if (packs)
          in.o[1 + i] = source(parts[i], 4);
        else
          result(i, parts[i].id, 4);
      }
      in.run = packs ? pack : unpack;
    } else if (from.kind == Operand::symbol && from.name.starts_with("%")) {
      result(0, to.id, type.lane());
      in.special = special_named(from.name);
      if (in.special == nullptr) unknown("special register");
      in.run = type.bytes == 8 ? read_special<u64> : read_special<u32>;
    } else {
      by_form();
    }
  }
  // Of pieces of in.flags bits, in.count of them.
  static void pack(Warp& w, const Inst& in, Mask m) {
    alignas(64) u64 t[kLanes] = {};
    for (int i = 0; i < in.count; ++i) {
      const u32* a = w.from<u32>(in.o[1 + i]);
      for (int l = 0; l < kLanes; ++l) t[l] |= (a[l] & ((u64{1} << in.flags) - 1)) << i * in.flags;
    }
    if (in.flags * in.count == 64) return ptx::store(w.to<u64>(in.o[0]), t, m);
    alignas(64) u32 half[kLanes];
    for (int l = 0; l < kLanes; ++l) half[l] = static_cast<u32>(t[l]);
    ptx::store(w.to<u32>(in.o[0]), half, m);
  }
  static void unpack(Warp& w, const Inst& in, Mask m) {
    alignas(64) u64 a[kLanes];
    const bool wide = in.flags * in.count == 64;
    for (int l = 0; l < kLanes; ++l) a[l] = wide ? w.from<u64>(in.o[in.count])[l] : w.from<u32>(in.o[in.count])[l];
    for (int i = 0; i < in.count; ++i) {
      if (in.o[i] == kNone) continue;
      alignas(64) u32 t[kLanes];
      for (int l = 0; l < kLanes; ++l) t[l] = static_cast<u32>(a[l] >> i * in.flags & ((u64{1} << in.flags) - 1));
      ptx::store(w.to<u32>(in.o[i]), t, m);
    }
  }
  template <class L>
  static void read_special(Warp& w, const Inst& in, Mask m) {
    alignas(64) L t[kLanes];
    for (int l = 0; l < kLanes; ++l) t[l] = static_cast<L>((*in.special)(w, static_cast<u32>(l)));
    ptx::store(w.to<L>(in.o[0]), t, m);
  }
  static const Special* special_named(std::string_view name) {
    static const std::unordered_map<std::string_view, Special> all{
        {"%tid.x", [](const Warp& w, u32 l) { return (w.index * kLanes + l) % w.worker->launch->block.x; }},
        {"%tid.y",
         [](const Warp& w, u32 l) {
           return (w.index * kLanes + l) / w.worker->launch->block.x % w.worker->launch->block.y;
         }},
        {"%ntid.x", [](const Warp& w, u32) { return w.worker->launch->block.x; }},
        {"%ntid.y", [](const Warp& w, u32) { return w.worker->launch->block.y; }},
        {"%ctaid.x", [](const Warp& w, u32) { return w.block->index.x; }},
        {"%ctaid.y", [](const Warp& w, u32) { return w.block->index.y; }},
        {"%ctaid.z", [](const Warp& w, u32) { return w.block->index.z; }},
        {"%nctaid.x", [](const Warp& w, u32) { return w.worker->launch->grid.x; }},
        {"%nctaid.y", [](const Warp& w, u32) { return w.worker->launch->grid.y; }},
        {"%laneid", [](const Warp&, u32 l) { return l; }},
        {"%lanemask_lt", [](const Warp&, u32 l) { return (1U << l) - 1; }},
        {"%lanemask_le", [](const Warp&, u32 l) { return (2U << l) - 1; }},
        {"%lanemask_gt", [](const Warp&, u32 l) { return ~((2U << l) - 1); }},
        {"%lanemask_ge", [](const Warp&, u32 l) { return ~((1U << l) - 1); }},
        {"%cluster_ctarank", [](const Warp& w, u32) { return w.block->rank; }},
        {"%cluster_nctarank", [](const Warp& w, u32) { return w.worker->launch->cluster.x; }}};
    const auto found = all.find(name);
    return found == all.end() ? nullptr : &found->second;
  }
  // A generic address is that of a window, or global.
  void convert_address() {
    const Space space = s.has("shared") || s.has("shared::cta") ? Space::shared
                        : s.has("local")                        ? Space::local
                        : s.has("param")                        ? Space::param
                                                                : Space::global;
    if (type.bytes != 8) unknown("32-bit addresses");
    result(0, operand(0).id, 8);
    in.o[1] = source(operand(1), 8);
    in.o[2] = b.constant(s.has("to") ? -window_of(space) : window_of(space), 8);
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
    for (const auto& v : values) lane = v.kind == Operand::reg ? b.register_type(v.id).lane() : lane;
    for (int k = 0; k < in.count; ++k) {
      if (reads)
        result(k, values[k].id, lane);
      else
        in.o[1 + k] = source(values[k], lane);
    }
    in.run = reads ? load_of(type, lane, in.count == 1) : store_of(type, lane);
    if (!reads || in.space != Space::param || operand(1).id >= 0) return;
    in.flags = static_cast<u8>(type.bytes | (type.kind == 's' ? 16 : 0));
    in.bytes = 0;
    in.run = parameter_load_of(lane);
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
    for (int k = 0; k < in.count; ++k) result(k, tiles[k].id, 4);
    address(operand(1), in.count);
    in.kind = Kind::sync;
    in.meet = Meet::all;
    in.run = matrix_load_of(s.has("trans"));
  }
  void atomic() {
    static const std::pair<std::string_view, AtomicOp> ops[]{
        {"add", kAdd}, {"min", kMin}, {"max", kMax},       {"and", kAnd},
        {"or", kOr},   {"xor", kXor}, {"exch", kExchange}, {"cas", kCompareAndSwap}};
    const auto op = std::find_if(std::begin(ops), std::end(ops), [&](const auto& named) { return s.has(named.first); });
    if (op == std::end(ops) || s.operands.back().kind == Operand::vector) unknown("atomic operation");
    if (type.bytes < 4 || type.bytes > 8 || (type.kind == 'f' && op->second != kAdd)) unknown("type");
    find_space();
    in.flags = op->second;
    const int at = s.parts[0] == "atom" ? 1 : 0;
    if (at == 1) result(0, operand(0).id, type.bytes);
    in.bytes = static_cast<u8>(type.bytes);
    in.count = 1;
    address(operand(at), 1);
    in.o[2] = source(operand(at + 1), type.bytes);
    if (in.flags == kCompareAndSwap) in.o[3] = source(operand(at + 2), type.bytes);
    in.run = atomic_of(type);
  }
  void order() { in.run = fence; }

  // --- what lanes do together: operand `table` names who
  void meet(int place, std::size_t mask_operand) {
    if (!s.has("sync") && !s.has("warp")) unknown("without sync");
    in.kind = Kind::sync;
    in.o[place] = source(operand(mask_operand), 4);
    in.table = static_cast<u32>(place);
  }
  void exchange() {
    result(0, operand(0).id, 4);
    result(1, operand(0).second, 0);
    for (int i = 1; i < 4; ++i) in.o[1 + i] = source(operand(i), 4);
    meet(5, 4);
    in.flags = s.has("up") ? kUpwards : s.has("down") ? kDownwards : s.has("bfly") ? kButterfly : kIndexed;
    in.run = shuffle;
  }
  void ask() {
    in.flags = s.has("all") ? kVoteAll : s.has("any") ? kVoteAny : s.has("uni") ? kVoteUni : kVoteBallot;
    result(0, operand(0).id, in.flags == kVoteBallot ? 4 : 0);
    in.o[1] = source(operand(1), 0);
    in.imm = operand(1).negated;
    meet(2, 2);
    in.run = vote;
  }
  void match() {
    if (!s.has("any")) unknown("match.all");
    result(0, operand(0).id, 4);
    in.o[1] = source(operand(1), type.lane());
    meet(2, 2);
    in.run = match_of(type);
  }
  void reduce() {
    if (!s.has("add") || type.bytes != 4 || type.kind == 'f') unknown("redux");
    result(0, operand(0).id, 4);
    in.o[1] = source(operand(1), 4);
    meet(2, 2);
    in.flags = kAdd;
    in.run = reduce_of(type);
  }
  void multiply() {
    in.flags = s.opcode == "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32";
    if (in.flags == 0 && s.opcode != "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
      unknown("shape or types of mma");
    in.kind = Kind::sync;
    in.meet = Meet::all;
    int place = 0;
    for (const Operand& fragment : s.operands) {
      for (const Operand& part : fragment.parts) {
        if (place < 4)
          result(place, part.id, 4);
        else
          in.o[place] = source(part, 4);
        ++place;
      }
    }
    if (place != 14) unknown("fragments");
    in.run = multiply_tiles;
  }

  // --- barriers and branches
  void barrier() {
    if (s.has("cluster")) {
      in.kind = s.has("arrive") ? Kind::cluster_arrive : Kind::cluster_wait;
    } else if (s.has("warp")) {
      meet(0, 0);
      in.meet = Meet::anywhere;
      in.run = [](Warp&, const Inst&, Mask) {};
    } else {
      in.kind = Kind::barrier;
      in.reduces = !s.has("red")  ? Reduces::nothing
                   : s.has("and") ? Reduces::all
                   : s.has("or")  ? Reduces::any
                                  : Reduces::count;
      const bool votes = in.reduces != Reduces::nothing;
      const Operand& name = operand(votes ? 1 : 0);
      if (name.kind != Operand::number || name.bits != 0 || s.operands.size() != (votes ? 3 : 1))
        unknown("named barriers");
      if (!votes) return;
      result(0, operand(0).id, in.reduces == Reduces::count ? 4 : 0);
      in.o[2] = source(operand(2), 0);
      in.imm = operand(2).negated;
    }
  }
  void branch() {
    in.kind = Kind::branch;
    in.imm = b.label(operand(0).name);
  }
  void indexed_branch() {
    in.kind = Kind::indexed;
    in.o[0] = source(operand(0), 4);
    in.table = b.table(operand(1).name);
  }
  void leave() { in.kind = Kind::exit; }
  void trap() { in.kind = Kind::trap; }
  void yield() { in.kind = Kind::yield; }
};

}  // namespace

void select(const Statement& statement, Inst& inst, Builder& builder) { Selector(statement, inst, builder).select(); }

}  // namespace ptx
