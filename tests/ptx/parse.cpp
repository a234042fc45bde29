// From PTX text to decoded programs: modules and their symbols, statements, registers with few places.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <utility>

#include "tests/ptx/parse.h"

namespace ptx {
namespace {

bool is_name_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}

class Lexer {
 public:
  Lexer(std::string_view text, std::uint32_t line) : text_(text), line_(line) {}
  std::uint32_t line() const { return line_; }
  std::size_t at() const { return at_; }
  void skip() {
    for (;;) {
      while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) advance();
      if (text_.substr(at_, 2) == "//") {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (text_.substr(at_, 2) == "/*") {
        while (at_ < text_.size() && text_.substr(at_, 2) != "*/") advance();
        at_ += 2;
      } else {
        return;
      }
    }
  }
  bool done() { return skip(), at_ >= text_.size(); }
  char peek() { return skip(), at_ < text_.size() ? text_[at_] : '\0'; }
  // A name or number, a string with its quotes, or one sign.
  std::string_view next() {
    skip();
    if (at_ >= text_.size()) return {};
    const std::size_t begin = at_;
    if (is_name_char(text_[at_])) {
      while (at_ < text_.size() && (is_name_char(text_[at_]) || text_.substr(at_, 2) == "::")) {
        at_ += text_[at_] == ':' ? 2 : 1;
      }
    } else if (text_[at_] == '"') {
      for (++at_; at_ < text_.size() && text_[at_] != '"';) at_ += text_[at_] == '\\' ? 2 : 1;
      ++at_;
    } else {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("expected '") + c + "' but found '" + std::string(next()) + "'");
  }
  std::string_view rest_of_line() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    return text_.substr(begin, at_ - begin);
  }
  // Behind the brace that closes the one just taken.
  void skip_braces() {
    for (int depth = 1; depth > 0 && !done();) {
      const std::string_view token = next();
      if (token == "{") ++depth;
      if (token == "}") --depth;
    }
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("PTX line " + std::to_string(line_) + ": " + what);
  }

 private:
  void advance() {
    if (text_[at_] == '\n') ++line_;
    ++at_;
  }
  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_;
};

bool number_of(std::string_view token, std::uint64_t& bits, char& form) {
  if (token.empty() || !std::isdigit(static_cast<unsigned char>(token[0]))) return false;
  form = 'i';
  if (token.size() > 2 && token[0] == '0' &&
      (token[1] == 'f' || token[1] == 'F' || token[1] == 'd' || token[1] == 'D')) {
    form = static_cast<char>(std::tolower(token[1]));
    bits = std::stoull(std::string(token.substr(2)), nullptr, 16);
    return true;
  }
  std::string text(token);
  while (text.back() == 'U' || text.back() == 'L') text.pop_back();
  bits = std::stoull(text, nullptr, 0);
  return true;
}

std::uint32_t round_up(std::uint32_t value, std::uint32_t to) { return (value + to - 1) / to * to; }

// .align N .type name[count][count]... as in every declaration; the leading directive has been taken.
struct Declaration {
  Variable variable;
  Type type = Type::b8;
  bool sized = true;
};
Declaration declaration(Lexer& in) {
  Declaration result;
  std::uint64_t element = 1;
  bool aligned = false;
  for (;;) {
    const std::string_view token = in.next();
    if (token == ".align") {
      result.variable.align = static_cast<std::uint32_t>(std::stoul(std::string(in.next())));
      aligned = true;
    } else if (token == ".ptr") {
      continue;
    } else if (token.starts_with(".v2") || token.starts_with(".v4")) {
      element *= token[2] - '0';
    } else if (token[0] == '.') {
      const Type type = type_named(token.substr(1));
      if (type == Type::none) continue;  // .ptr .global and the like
      result.type = type;
      element *= bytes_of(type);
    } else {
      result.variable.name = token;
      break;
    }
  }
  if (!aligned) result.variable.align = static_cast<std::uint32_t>(element);
  result.variable.bytes = element;
  while (in.take('[')) {
    if (in.peek() == ']') {
      result.variable.bytes = 0;
      result.sized = false;
    } else {
      result.variable.bytes *= std::stoull(std::string(in.next()), nullptr, 0);
    }
    in.expect(']');
  }
  return result;
}

void initialise(Lexer& in, const Declaration& what) {
  char* to = memory::host(what.variable.at);
  std::memset(to, 0, what.variable.bytes);
  if (in.take('=')) {
    const bool list = in.take('{');
    const int size = bytes_of(what.type);
    for (std::size_t i = 0;; ++i) {
      const bool minus = in.take('-');
      std::uint64_t bits = 0;
      char form = 'i';
      const std::string_view token = in.next();
      if (token == "{") continue;
      if (!number_of(token, bits, form)) in.fail("initialiser that is no number: " + std::string(token));
      if (minus) bits = -bits;
      if ((i + 1) * size <= what.variable.bytes) std::memcpy(to + i * size, &bits, size);
      while (in.take('}')) {
        if (in.peek() == ';') break;
      }
      if (!list || !in.take(',')) break;
    }
    in.take('}');
  }
  if (memory::tracks_init()) memory::mark_init(what.variable.at, what.variable.bytes);
}

class Decoder final : public Builder {
 public:
  explicit Decoder(Kernel& kernel) : kernel_(kernel) {}

  void decode() {
    read_parameters();
    read_body();
    for (Inst& inst : kernel_.code) {
      if (inst.kind != Kind::branch) continue;
      if (labels_[inst.imm].at < 0) throw std::runtime_error("no label " + std::string(labels_[inst.imm].name));
      inst.imm = labels_[inst.imm].at;
    }
    for (const auto& names : table_names_) {
      std::vector<std::uint32_t> table;
      for (const std::string_view name : names) table.push_back(static_cast<std::uint32_t>(labels_.at(label(name)).at));
      kernel_.tables.push_back(table);
    }
    Inst end;  // running off the end is a return
    end.kind = Kind::exit;
    kernel_.code.push_back(end);
    place_registers();
  }

  // --- Builder
  Type register_type(int id) const override { return registers_[id]; }
  Ref constant(std::uint64_t bits, int bytes) override {
    if (bytes == 4) bits &= 0xffffffff;
    const auto [found, isnew] = constants_.try_emplace({bits, bytes}, 0);
    if (isnew) {
      auto& pool = kernel_.constants;
      const std::size_t at = pool.size();
      pool.resize(at + (bytes == 8 ? 256 : bytes == 4 ? 128 : 64));
      for (int lane = 0; lane < kLanes && bytes > 0; ++lane) std::memcpy(&pool[at + lane * bytes], &bits, bytes);
      const Mask mask = bits != 0 ? kAll : 0;
      if (bytes == 0) std::memcpy(&pool[at], &mask, sizeof(mask));
      found->second = ~static_cast<Ref>(at);
    }
    return found->second;
  }
  std::uint64_t symbol(std::string_view name, Space& space) override {
    const std::string key(name);
    for (const auto& v : kernel_.parameters) {
      if (v.name == key) return space = Space::param, v.at;
    }
    for (const auto& v : kernel_.shared) {
      if (v.name == key) return space = Space::shared, v.at;
    }
    for (const auto& v : kernel_.local) {
      if (v.name == key) return space = Space::local, v.at;
    }
    if (const auto found = kernel_.module->globals.find(key); found != kernel_.module->globals.end()) {
      return space = Space::global, found->second.at;
    }
    for (const auto& v : kernel_.module->dynamic_shared) {  // shared by all: behind the static variables
      if (v.name == key) return space = Space::shared, dynamic_at();
    }
    for (const auto& v : kernel_.module->module_shared) {
      if (v.name == key) return space = Space::shared, add_shared(v);
    }
    throw std::runtime_error("no symbol " + key);
  }
  const std::vector<std::uint32_t>* table(std::string_view name, std::uint32_t& index) override {
    index = tables_.at(std::string(name));
    return nullptr;
  }
  std::uint32_t label(std::string_view name) override {
    for (std::size_t depth = scopes_.size(); depth-- > 0;) {
      const auto found = scopes_[depth].labels.find(std::string(name));
      if (found != scopes_[depth].labels.end()) return found->second;
    }
    scopes_[0].labels[std::string(name)] = static_cast<std::uint32_t>(labels_.size());
    labels_.push_back({name, -1});
    return static_cast<std::uint32_t>(labels_.size() - 1);
  }

 private:
  struct Scope {
    std::unordered_map<std::string, int> registers;
    std::unordered_map<std::string, std::uint32_t> labels;
  };
  struct Label {
    std::string_view name;
    std::int64_t at;
  };

  void read_parameters() {
    Lexer in(kernel_.parameters_text, kernel_.body_line);
    std::uint32_t at = 0;
    while (!in.done()) {
      if (in.next() != ".param") in.fail("a parameter was expected");
      Declaration d = declaration(in);
      at = round_up(at, d.variable.align);
      d.variable.at = at;
      at += static_cast<std::uint32_t>(d.variable.bytes);
      kernel_.parameters.push_back(d.variable);
      in.take(',');
    }
    kernel_.parameter_bytes = at;
  }

  // Redzones of 128 bytes between shared variables: the banks stay as they are.
  std::uint32_t add_shared(Variable variable) {
    variable.at = round_up(kernel_.shared_end, std::max(16u, variable.align));
    kernel_.static_shared =
        round_up(kernel_.static_shared, variable.align) + static_cast<std::uint32_t>(variable.bytes);
    kernel_.shared_end = round_up(static_cast<std::uint32_t>(variable.at + variable.bytes), 128) + 128;
    kernel_.shared.push_back(variable);
    return static_cast<std::uint32_t>(variable.at);
  }
  std::uint32_t dynamic_at() {
    for (const auto& v : kernel_.module->module_shared) {  // all that could come before it
      if (std::none_of(kernel_.shared.begin(), kernel_.shared.end(),
                       [&](const Variable& s) { return s.name == v.name; }) &&
          kernel_.body_text.find(v.name) != std::string_view::npos) {
        add_shared(v);
      }
    }
    return round_up(kernel_.shared_end, 1024);
  }

  int find_register(std::string_view name) const {
    const std::string key(name);
    for (std::size_t depth = scopes_.size(); depth-- > 0;) {
      const auto found = scopes_[depth].registers.find(key);
      if (found != scopes_[depth].registers.end()) return found->second;
    }
    return -1;
  }

  // Shared variables of the body come before its code can name the dynamic part.
  void read_body() {
    Lexer ahead(kernel_.body_text, kernel_.body_line);
    while (!ahead.done()) {
      const std::string_view token = ahead.next();
      if (token == ".loc" || token == ".pragma") ahead.rest_of_line();
      if (token == ".shared") add_shared(declaration(ahead).variable);
    }
    Lexer in(kernel_.body_text, kernel_.body_line);
    scopes_.assign(1, {});
    while (!in.done()) statement(in);
  }

  void statement(Lexer& in) {
    const std::uint32_t line = in.line();
    std::string_view token = in.next();
    if (token == "{") {
      scopes_.emplace_back();
      find_labels(in);
    } else if (token == "}") {
      if (scopes_.size() > 1) scopes_.pop_back();
    } else if (token == ";") {
    } else if (token == ".reg") {
      declare_registers(in);
    } else if (token == ".loc") {
      location(in.rest_of_line());
    } else if (token == ".pragma") {
      in.rest_of_line();
    } else if (token == ".local") {
      Declaration d = declaration(in);
      kernel_.local_bytes = round_up(std::max(kernel_.local_bytes, kLocalStart), std::max(16u, d.variable.align));
      d.variable.at = kernel_.local_bytes;
      kernel_.local_bytes += static_cast<std::uint32_t>(d.variable.bytes) + 64;
      kernel_.local.push_back(d.variable);
      in.expect(';');
    } else if (token == ".shared") {
      declaration(in);
      in.expect(';');
    } else if (token[0] == '.') {
      in.fail("directive " + std::string(token) + " is not known");
    } else {
      Inst inst;
      inst.line = line;
      inst.loc = loc_;
      if (token == "@") {
        inst.negated = in.take('!');
        inst.guard = find_register(in.next());
        if (inst.guard < 0) in.fail("guard is no register");
        token = in.next();
      } else if (in.peek() == ':') {
        in.expect(':');
        if (Lexer ahead = in; ahead.next() == ".branchtargets") {  // name: .branchtargets a, b;
          in.next();
          tables_[std::string(token)] = static_cast<std::uint32_t>(table_names_.size());
          table_names_.emplace_back();
          do table_names_.back().push_back(in.next());
          while (in.take(','));
          in.expect(';');
          return;
        }
        labels_[label(token)].at = static_cast<std::int64_t>(kernel_.code.size());
        return;
      }
      Statement s;
      s.opcode = token;
      s.line = line;
      for (std::size_t from = 0; from <= token.size();) {
        const std::size_t dot = std::min(token.find('.', from), token.size());
        s.parts.push_back(token.substr(from, dot - from));
        from = dot + 1;
      }
      while (in.peek() != ';') {
        s.operands.push_back(operand(in));
        if (!in.take(',')) break;
      }
      in.expect(';');
      try {
        select(s, inst, *this);
      } catch (const std::exception& error) {
        in.fail(std::string(error.what()) + ": " + std::string(token));
      }
      if (left_out(s)) return;
      if (inst.bytes > 0) inst.cache = kernel_.caches++;
      kernel_.code.push_back(inst);
    }
  }

  // PTX_DROP=N:NAME leaves out the N-th barrier or fence, from 0, of kernels whose name holds NAME: a test that passes
  // without it does not test it. Of a cluster's barrier both halves go.
  bool left_out(const Statement& s) {
    static const std::string which = setting("PTX_DROP", "");
    if (which.empty()) return false;
    const bool wait = s.opcode.starts_with("barrier.cluster.wait");
    if (wait) return std::exchange(arrival_left_out_, false);
    const bool orders = s.opcode.starts_with("bar") || s.opcode.starts_with("membar") || s.opcode.starts_with("fence");
    if (!orders || demangled(kernel_.name).find(which.substr(which.find(':') + 1)) == std::string::npos) return false;
    if (barriers_++ != std::stoi(which) || s.has("red")) return false;
    arrival_left_out_ = s.has("cluster");
    std::fprintf(stderr, "PTX machine: left out line %u of %s: %s\n", s.line, demangled(kernel_.name).c_str(),
                 std::string(s.opcode).c_str());
    return true;
  }

  // A label inside braces belongs to them, even where it is used first.
  void find_labels(Lexer ahead) {
    for (int depth = 1; depth > 0 && !ahead.done();) {
      const std::string_view token = ahead.next();
      if (token == "{") ++depth;
      if (token == "}") --depth;
      if (token == ".loc") ahead.rest_of_line();
      if (depth == 1 && is_name_char(token[0]) && ahead.peek() == ':') {
        scopes_.back().labels[std::string(token)] = static_cast<std::uint32_t>(labels_.size());
        labels_.push_back({token, -1});
      }
    }
  }

  void declare_registers(Lexer& in) {
    Type type = Type::none;
    while (in.peek() == '.') {
      const std::string_view token = in.next();
      if (type_named(token.substr(1)) != Type::none) type = type_named(token.substr(1));
    }
    do {
      const std::string name(in.next());
      int count = -1;
      if (in.take('<')) {
        count = std::stoi(std::string(in.next()));
        in.expect('>');
      }
      for (int i = 0; i < std::max(count, 1); ++i) {
        scopes_.back().registers[count < 0 ? name : name + std::to_string(i)] = static_cast<int>(registers_.size());
        registers_.push_back(type);
      }
    } while (in.take(','));
    in.expect(';');
  }

  void location(std::string_view text) {
    Lexer in(text, 0);
    Loc loc;
    loc.file = static_cast<std::uint32_t>(std::stoul(std::string(in.next())));
    loc.line = static_cast<std::uint32_t>(std::stoul(std::string(in.next())));
    const std::size_t inlined = text.find("inlined_at ");
    if (inlined != std::string_view::npos) {
      Lexer caller(text.substr(inlined + 11), 0);
      Loc at;
      at.file = static_cast<std::uint32_t>(std::stoul(std::string(caller.next())));
      at.line = static_cast<std::uint32_t>(std::stoul(std::string(caller.next())));
      loc.inlined_at = static_cast<std::int32_t>(kernel_.locs.size());
      kernel_.locs.push_back(at);
    }
    loc_ = static_cast<std::uint32_t>(kernel_.locs.size());
    kernel_.locs.push_back(loc);
  }

  Operand operand(Lexer& in) {
    Operand result;
    if (in.take('{')) {
      result.kind = Operand::vector;
      do result.parts.push_back(operand(in));
      while (in.take(','));
      in.expect('}');
      return result;
    }
    if (in.take('[')) {
      result.kind = Operand::address;
      bool minus = false;
      do {
        std::uint64_t bits = 0;
        char form = 'i';
        if (in.take('-')) minus = true;
        const std::string_view token = in.next();
        if (number_of(token, bits, form)) {
          result.offset += minus ? -static_cast<std::int64_t>(bits) : static_cast<std::int64_t>(bits);
          minus = false;
        } else if (const int id = find_register(token); id >= 0) {
          result.id = id;
        } else {
          result.name = token;
        }
      } while (in.take('+') || in.peek() == '-');
      in.expect(']');
      return result;
    }
    result.negated = in.take('!');
    const bool minus = in.take('-');
    const std::string_view token = in.next();
    if (number_of(token, result.bits, result.form)) {
      result.kind = Operand::number;
      if (minus) result.bits = -result.bits;
      return result;
    }
    if (token == "_") return result;
    result.id = find_register(token);
    result.kind = result.id >= 0 ? Operand::reg : Operand::symbol;
    result.name = token;
    if (in.take('|')) result.second = find_register(in.next());
    if (result.kind == Operand::symbol && in.take('+')) {
      char form = 'i';
      std::uint64_t bits = 0;
      number_of(in.next(), bits, form);
      result.offset = static_cast<std::int64_t>(bits);
    }
    return result;
  }

  // Gives each virtual register a place for as long as it is live: linear scan over the intervals that liveness gives.
  void place_registers() {
    auto& code = kernel_.code;
    const int count = static_cast<int>(registers_.size()), size = static_cast<int>(code.size());
    std::vector<char> leader(size + 1, 0);
    leader[0] = 1;
    for (int i = 0; i < size; ++i) {
      if (code[i].kind == Kind::branch) leader[code[i].imm] = leader[i + 1] = 1;
      if (code[i].kind == Kind::indexed) {
        for (const auto to : kernel_.tables[code[i].table]) leader[to] = 1;
      }
      if (code[i].kind == Kind::exit || code[i].kind == Kind::indexed) leader[i + 1] = 1;
    }
    struct Flow {
      int begin, end;
      std::vector<int> next;
      std::vector<std::uint64_t> in, use, def;
    };
    std::vector<Flow> flows;
    std::vector<int> flow_of(size + 1, 0);
    const std::size_t words = (count + 63) / 64;
    for (int i = 0; i < size; ++i) {
      if (leader[i])
        flows.push_back({i,
                         i,
                         {},
                         std::vector<std::uint64_t>(words),
                         std::vector<std::uint64_t>(words),
                         std::vector<std::uint64_t>(words)});
      flows.back().end = i + 1;
      flow_of[i] = static_cast<int>(flows.size()) - 1;
    }
    const auto each = [&](const Inst& inst, auto&& used, auto&& defined) {
      if (inst.guard >= 0) used(inst.guard);
      for (int k = 0; k < 14; ++k) {
        if (inst.o[k] < 0) continue;
        if (!(inst.defs >> k & 1) || inst.guard != kNone) used(inst.o[k]);
      }
      for (int k = 0; k < 14; ++k) {
        if (inst.o[k] >= 0 && (inst.defs >> k & 1)) defined(inst.o[k]);
      }
    };
    for (Flow& flow : flows) {
      for (int i = flow.begin; i < flow.end; ++i) {
        each(
            code[i],
            [&](int r) {
              if (!(flow.def[r / 64] >> r % 64 & 1)) flow.use[r / 64] |= 1ULL << r % 64;
            },
            [&](int r) { flow.def[r / 64] |= 1ULL << r % 64; });
      }
      const Inst& last = code[flow.end - 1];
      const bool always = last.guard == kNone;
      if (last.kind == Kind::branch) flow.next.push_back(flow_of[last.imm]);
      if (last.kind == Kind::indexed) {
        for (const auto to : kernel_.tables[last.table]) flow.next.push_back(flow_of[to]);
      }
      const bool leaves = last.kind == Kind::branch || last.kind == Kind::exit || last.kind == Kind::indexed;
      if ((!leaves || !always) && flow.end < size) flow.next.push_back(flow_of[flow.end]);
    }
    std::vector<int> begin(count, INT32_MAX), end(count, -1);
    const auto extend = [&](int r, int at) {
      begin[r] = std::min(begin[r], at);
      end[r] = std::max(end[r], at);
    };
    std::vector<std::uint64_t> out(words);
    const auto out_of = [&](const Flow& flow) {
      std::fill(out.begin(), out.end(), 0);
      for (const int next : flow.next) {
        for (std::size_t w = 0; w < words; ++w) out[w] |= flows[next].in[w];
      }
    };
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t f = flows.size(); f-- > 0;) {
        Flow& flow = flows[f];
        out_of(flow);
        for (std::size_t w = 0; w < words; ++w) {
          const std::uint64_t in = flow.use[w] | (out[w] & ~flow.def[w]);
          changed |= in != flow.in[w];
          flow.in[w] = in;
        }
      }
    }
    for (const Flow& flow : flows) {
      out_of(flow);
      for (std::size_t w = 0; w < words; ++w) {
        for (std::uint64_t bits = flow.in[w]; bits != 0; bits &= bits - 1)
          extend(static_cast<int>(w * 64 + __builtin_ctzll(bits)), flow.begin);
        for (std::uint64_t bits = out[w]; bits != 0; bits &= bits - 1)
          extend(static_cast<int>(w * 64 + __builtin_ctzll(bits)), flow.end);
      }
      for (int i = flow.begin; i < flow.end; ++i) {
        const auto at = [&](int r) { extend(r, i); };
        each(code[i], at, at);
      }
    }
    // Places: predicates of 4 bytes (in a region of their own), 128 and 256 bytes.
    std::vector<int> order;
    for (int r = 0; r < count; ++r) {
      if (end[r] >= 0) order.push_back(r);
    }
    std::sort(order.begin(), order.end(), [&](int a, int b) { return begin[a] < begin[b]; });
    std::vector<Ref> place(count, kNone);
    std::map<int, std::vector<Ref>> unused;
    std::vector<std::pair<int, int>> active;  // (end, register), a heap
    std::uint32_t used = 4096;                // predicates lie in front
    std::uint32_t predicates = 0;
    int live = 0;
    const auto bytes = [&](int r) { return lane_bytes(registers_[r]) * kLanes; };
    for (const int r : order) {
      while (!active.empty() && active.front().first < begin[r]) {
        const int gone = active.front().second;
        std::pop_heap(active.begin(), active.end(), std::greater<>());
        active.pop_back();
        unused[bytes(gone)].push_back(place[gone]);
        live -= bytes(gone) / 128;
      }
      auto& pool = unused[bytes(r)];
      if (!pool.empty()) {
        place[r] = pool.back();
        pool.pop_back();
      } else if (bytes(r) == 0) {
        place[r] = static_cast<Ref>(predicates * 4);
        if (++predicates * 4 > 4096) throw std::runtime_error("more than 1024 predicates live at once");
      } else {
        place[r] = static_cast<Ref>(used);
        used += bytes(r);
      }
      active.emplace_back(end[r], r);
      std::push_heap(active.begin(), active.end(), std::greater<>());
      live += bytes(r) / 128;
      kernel_.pressure = std::max(kernel_.pressure, live);
    }
    for (Inst& inst : code) {
      if (inst.guard >= 0) inst.guard = place[inst.guard];
      for (Ref& o : inst.o) {
        if (o >= 0) o = place[o];
      }
    }
    kernel_.register_bytes = round_up(used, 4096) + 64 * 3;  // not a multiple of 4096: warps in different sets
  }

  Kernel& kernel_;
  std::vector<Type> registers_;
  std::vector<Scope> scopes_;
  std::vector<Label> labels_;
  std::map<std::pair<std::uint64_t, int>, Ref> constants_;
  std::map<std::string, std::uint32_t> tables_;
  std::vector<std::vector<std::string_view>> table_names_;
  std::uint32_t loc_ = 0;
  int barriers_ = 0;
  bool arrival_left_out_ = false;
};

}  // namespace

Type type_named(std::string_view name) {
  static const std::map<std::string_view, Type> types{
      {"pred", Type::pred},   {"b8", Type::b8},         {"u8", Type::u8},   {"s8", Type::s8},   {"b16", Type::b16},
      {"u16", Type::u16},     {"s16", Type::s16},       {"b32", Type::b32}, {"u32", Type::u32}, {"s32", Type::s32},
      {"b64", Type::b64},     {"u64", Type::u64},       {"s64", Type::s64}, {"f16", Type::f16}, {"bf16", Type::bf16},
      {"f16x2", Type::f16x2}, {"bf16x2", Type::bf16x2}, {"f32", Type::f32}, {"f64", Type::f64}, {"b128", Type::b128}};
  const auto found = types.find(name);
  return found == types.end() ? Type::none : found->second;
}

int bytes_of(Type type) {
  switch (type) {
    case Type::none:
    case Type::pred: return 0;
    case Type::b8:
    case Type::u8:
    case Type::s8: return 1;
    case Type::b16:
    case Type::u16:
    case Type::s16:
    case Type::f16:
    case Type::bf16: return 2;
    case Type::b64:
    case Type::u64:
    case Type::s64:
    case Type::f64: return 8;
    case Type::b128: return 16;
    default: return 4;
  }
}

Type Statement::type(int from_the_end) const {
  for (std::size_t i = parts.size(); i-- > 1;) {
    const Type type = type_named(parts[i]);
    if (type != Type::none && from_the_end-- == 0) return type;
  }
  return Type::none;
}

std::unique_ptr<Module> parse_module(std::string text) {
  auto module = std::make_unique<Module>();
  module->text = std::move(text);
  const std::string_view all = module->text;
  Lexer in(all, 1);
  while (!in.done()) {
    const std::string_view token = in.next();
    if (token == ".version" || token == ".address_size") {
      in.next();
    } else if (token == ".target") {
      module->target = in.next();
      while (in.take(',')) in.next();
    } else if (token == ".file") {
      const auto id = static_cast<std::uint32_t>(std::stoul(std::string(in.next())));
      const std::string_view name = in.next();
      module->files[id] = name.substr(1, name.size() - 2);
      in.rest_of_line();
    } else if (token == ".section") {
      while (in.peek() != '{') in.next();
      in.expect('{');
      in.skip_braces();
    } else if (token == ".global" || token == ".const") {
      Declaration d = declaration(in);
      d.variable.at = memory::allocate(std::max<std::size_t>(d.variable.bytes, 1), module->text.c_str());
      initialise(in, d);
      in.expect(';');
      module->globals[d.variable.name] = d.variable;
    } else if (token == ".shared") {
      const Declaration d = declaration(in);
      in.expect(';');
      (d.sized ? module->module_shared : module->dynamic_shared).push_back(d.variable);
    } else if (token == ".entry") {
      auto kernel = std::make_unique<Kernel>();
      kernel->name = in.next();
      kernel->module = module.get();
      if (in.take('(')) {
        const std::size_t begin = in.at();
        std::size_t end = begin;
        for (;;) {
          end = in.at();
          if (in.next() == ")") break;
        }
        kernel->parameters_text = all.substr(begin, end - begin);
      }
      while (in.peek() != '{') {
        const std::string_view directive = in.next();
        const auto product = [&] {
          int result = 1;
          do result *= std::stoi(std::string(in.next()));
          while (in.take(','));
          return result;
        };
        if (directive == ".maxntid")
          kernel->max_threads = product();
        else if (directive == ".reqntid")
          kernel->required_threads = product();
        else if (directive == ".minnctapersm")
          kernel->min_blocks = product();
        else if (directive == ".reqnctapercluster")
          kernel->cluster = static_cast<std::uint32_t>(product());
        else if (directive == ".maxnreg" || directive == ".maxclusterrank")
          in.next();
        else if (directive == ".explicitcluster")
          continue;
        else
          in.fail("directive of a kernel " + std::string(directive) + " is not known");
      }
      in.expect('{');
      kernel->body_line = in.line();
      const std::size_t begin = in.at();
      in.skip_braces();
      kernel->body_text = all.substr(begin, in.at() - 1 - begin);
      module->kernels[kernel->name] = std::move(kernel);
    } else if (token == ".func") {  // known only when called
      while (in.peek() != '{' && in.peek() != ';') in.next();
      if (!in.take(';')) {
        in.expect('{');
        in.skip_braces();
      }
    } else if (token == ".visible" || token == ".extern" || token == ".weak" || token == ".common" || token == ";") {
      continue;
    } else if (token == ".pragma") {
      in.rest_of_line();
    } else {
      in.fail("directive " + std::string(token) + " is not known");
    }
  }
  return module;
}

void decode(Kernel& kernel) {
  if (kernel.decoded) return;
  Decoder(kernel).decode();
  kernel.decoded = true;
}

std::string source_of(const Kernel& kernel, std::uint32_t loc) {
  std::string result;
  for (std::int64_t at = loc; at >= 0 && at < static_cast<std::int64_t>(kernel.locs.size());
       at = kernel.locs[at].inlined_at) {
    const Loc& here = kernel.locs[at];
    const auto file = kernel.module->files.find(here.file);
    std::string name = file == kernel.module->files.end() ? "file " + std::to_string(here.file) : file->second;
    name.erase(0, name.rfind('/') + 1);
    result += (result.empty() ? "" : " in ") + name + ":" + std::to_string(here.line);
  }
  return result.empty() ? "(no line information)" : result;
}

std::string text_of(const Kernel& kernel, std::uint32_t line) {
  std::size_t at = 0;
  const std::string& text = kernel.module->text;
  for (std::uint32_t n = 1; n < line && at != std::string::npos; ++n) at = text.find('\n', at) + 1;
  std::string result = text.substr(at, text.find('\n', at) - at);
  result.erase(0, std::min(result.find_first_not_of(" \t"), result.size()));
  for (char& c : result) {
    if (c == '\t') c = ' ';
  }
  return result;
}

}  // namespace ptx
