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

bool number_of(std::string_view token, std::uint64_t& bits) {
  if (token.empty() || !std::isdigit(static_cast<unsigned char>(token[0]))) return false;
  std::string text(token);
  if (token.size() > 2 &&
      std::string_view("fFdD").find(token[1]) != std::string_view::npos) {  // the bits of a float or double
    bits = std::stoull(text.substr(2), nullptr, 16);
  } else {
    while (text.back() == 'U' || text.back() == 'L') text.pop_back();
    bits = std::stoull(text, nullptr, 0);
  }
  return true;
}
std::uint32_t integer(Lexer& in) { return static_cast<std::uint32_t>(std::stoul(std::string(in.next()))); }

std::uint32_t round_up(std::uint32_t value, std::uint32_t to) { return (value + to - 1) / to * to; }

// .align N .type name[count][count]... as in every declaration; the leading directive has been taken.
struct Declaration {
  Variable variable;
  Type type;
  bool sized = true;
};
Declaration declaration(Lexer& in) {
  Declaration result;
  std::uint64_t element = 1;
  bool aligned = false;
  for (;;) {
    const std::string_view token = in.next();
    if (token == ".align") {
      result.variable.align = integer(in);
      aligned = true;
    } else if (token == ".ptr") {
      continue;
    } else if (token.starts_with(".v2") || token.starts_with(".v4")) {
      element *= token[2] - '0';
    } else if (token[0] == '.') {
      const Type type = type_named(token.substr(1));
      if (type.kind == 0) continue;  // .ptr .global and the like
      result.type = type;
      element *= static_cast<std::uint64_t>(type.bytes);
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

// = a number, or numbers in braces.
void initialise(Lexer& in, const Declaration& what) {
  char* const to = memory::host(what.variable.at);
  std::memset(to, 0, what.variable.bytes);
  const auto size = static_cast<std::size_t>(what.type.bytes);
  if (in.take('=')) {
    in.take('{');
    for (std::size_t at = 0; at + size <= what.variable.bytes; at += size) {
      const bool minus = in.take('-');
      std::uint64_t bits = 0;
      const std::string_view token = in.next();
      if (!number_of(token, bits)) in.fail("initialiser that is no number: " + std::string(token));
      if (minus) bits = -bits;
      std::memcpy(to + at, &bits, size);
      if (!in.take(',')) break;
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
    place_registers(kernel_, registers_);
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
    const auto within = [&](const std::vector<Variable>& variables) {
      return std::find_if(variables.begin(), variables.end(), [&](const Variable& v) { return v.name == key; });
    };
    for (const auto& [variables, of] : {std::pair{&kernel_.parameters, Space::param},
                                        {&kernel_.shared, Space::shared},
                                        {&kernel_.local, Space::local}}) {
      if (const auto v = within(*variables); v != variables->end()) return space = of, v->at;
    }
    const Module& module = *kernel_.module;
    if (const auto v = module.globals.find(key); v != module.globals.end()) return space = Space::global, v->second.at;
    space = Space::shared;
    if (within(module.dynamic_shared) != module.dynamic_shared.end()) return dynamic_at();
    if (const auto v = within(module.module_shared); v != module.module_shared.end()) return add_shared(*v);
    throw std::runtime_error("no symbol " + key);
  }
  std::uint32_t table(std::string_view name) override { return tables_.at(std::string(name)); }
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
    const std::string_view token = in.next();
    if (token == "{") {
      scopes_.emplace_back();
      find_labels(in);
    } else if (token == "}") {
      if (scopes_.size() > 1) scopes_.pop_back();
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
    } else if (token == ".shared") {
      declaration(in);  // known already
    } else if (token[0] == '.') {
      in.fail("directive " + std::string(token) + " is not known");
    } else if (token != "@" && in.take(':')) {
      labelled(in, token);
    } else if (token != ";") {
      instruction(in, token, line);
    }
  }
  // name: an instruction, or .branchtargets a, b;
  void labelled(Lexer& in, std::string_view name) {
    if (Lexer ahead = in; ahead.next() != ".branchtargets") {
      labels_[label(name)].at = static_cast<std::int64_t>(kernel_.code.size());
      return;
    }
    in.next();
    tables_[std::string(name)] = static_cast<std::uint32_t>(table_names_.size());
    table_names_.emplace_back();
    do table_names_.back().push_back(in.next());
    while (in.take(','));
  }
  void instruction(Lexer& in, std::string_view token, std::uint32_t line) {
    Inst inst;
    inst.line = line;
    inst.loc = loc_;
    if (token == "@") {
      inst.negated = in.take('!');
      inst.guard = find_register(in.next());
      if (inst.guard < 0) in.fail("guard is no register");
      token = in.next();
    }
    Statement s;
    s.opcode = token;
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
    if (inst.bytes > 0) inst.cache = kernel_.caches++;
    kernel_.code.push_back(inst);
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
    Type type;
    while (in.peek() == '.') {
      const std::string_view token = in.next();
      if (const Type named = type_named(token.substr(1)); named.kind != 0) type = named;
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
    Loc loc{integer(in), 0, -1};
    loc.line = integer(in);
    if (const std::size_t inlined = text.find("inlined_at "); inlined != std::string_view::npos) {
      Lexer caller(text.substr(inlined + 11), 0);
      Loc at{integer(caller), 0, -1};
      at.line = integer(caller);
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
    } else if (in.take('[')) {
      result.kind = Operand::address;
      do {
        const bool minus = in.take('-');
        std::uint64_t bits = 0;
        const std::string_view token = in.next();
        if (number_of(token, bits))
          result.offset += static_cast<std::int64_t>(minus ? -bits : bits);
        else if (const int id = find_register(token); id >= 0)
          result.id = id;
        else
          result.name = token;
      } while (in.take('+') || in.peek() == '-');
      in.expect(']');
    } else {
      result.negated = in.take('!');
      const bool minus = in.take('-');
      const std::string_view token = in.next();
      if (token == "_") return result;
      if (number_of(token, result.bits)) {
        result.kind = Operand::number;
        if (minus) result.bits = -result.bits;
        return result;
      }
      result.id = find_register(token);
      result.kind = result.id >= 0 ? Operand::reg : Operand::symbol;
      result.name = token;
      if (in.take('|')) result.second = find_register(in.next());
      std::uint64_t offset = 0;
      if (in.take('+') && number_of(in.next(), offset)) result.offset = static_cast<std::int64_t>(offset);
    }
    return result;
  }

  Kernel& kernel_;
  std::vector<Type> registers_;
  std::vector<Scope> scopes_;
  std::vector<Label> labels_;
  std::map<std::pair<std::uint64_t, int>, Ref> constants_;
  std::map<std::string, std::uint32_t> tables_;
  std::vector<std::vector<std::string_view>> table_names_;
  std::uint32_t loc_ = 0;
};

// A kernel: its parameters, its limits, and where its body lies.
std::unique_ptr<Kernel> entry(Lexer& in, const Module& module) {
  const std::string_view all = module.text;
  auto kernel = std::make_unique<Kernel>();
  kernel->name = in.next();
  kernel->module = &module;
  if (in.take('(')) {
    const std::size_t begin = in.at();
    while (in.peek() != ')') in.next();
    kernel->parameters_text = all.substr(begin, in.at() - begin);
    in.expect(')');
  }
  while (!in.take('{')) {
    const std::string_view directive = in.next();
    if (directive != ".maxntid" && directive != ".minnctapersm")
      in.fail("directive of a kernel " + std::string(directive) + " is not known");
    int product = 1;
    do product *= static_cast<int>(integer(in));
    while (in.take(','));
    if (directive == ".maxntid") kernel->max_threads = product;
  }
  kernel->body_line = in.line();
  const std::size_t begin = in.at();
  in.skip_braces();
  kernel->body_text = all.substr(begin, in.at() - 1 - begin);
  return kernel;
}

}  // namespace

Type type_named(std::string_view name) {
  if (name == "pred") return {'p', 0};
  const bool bf16 = name.starts_with("bf");
  const std::string_view size = name.substr(std::min<std::size_t>(bf16 ? 2 : 1, name.size()));
  for (const int bytes : {1, 2, 4, 8, 16}) {
    const std::string bits = std::to_string(8 * bytes);
    const int parts = size == bits ? 1 : size == bits + "x2" ? 2 : 0;
    if (parts > 0 && std::string_view("busf").find(name[0]) != std::string_view::npos)
      return {bf16 ? 'h' : name[0], bytes * parts};
  }
  return {};
}

Type Statement::type() const {
  const auto last =
      std::find_if(parts.rbegin(), parts.rend(), [](std::string_view part) { return type_named(part).kind != 0; });
  return last == parts.rend() ? Type{} : type_named(*last);
}

std::unique_ptr<Module> parse_module(std::string text) {
  auto module = std::make_unique<Module>();
  module->text = std::move(text);
  Lexer in(module->text, 1);
  while (!in.done()) {
    const std::string_view token = in.next();
    if (token == ".file") {
      const std::uint32_t id = integer(in);
      const std::string_view name = in.next();
      module->files[id] = name.substr(1, name.size() - 2);
      in.rest_of_line();
    } else if (token == ".section" || token == ".func") {  // functions are known only when called
      while (in.peek() != '{' && in.peek() != ';') in.next();
      if (in.take('{')) in.skip_braces();
    } else if (token == ".global" || token == ".const") {
      Declaration d = declaration(in);
      d.variable.at = memory::allocate(std::max<std::size_t>(d.variable.bytes, 1));
      initialise(in, d);
      module->globals[d.variable.name] = d.variable;
    } else if (token == ".shared") {
      const Declaration d = declaration(in);
      (d.sized ? module->module_shared : module->dynamic_shared).push_back(d.variable);
    } else if (token == ".entry") {
      auto kernel = entry(in, *module);
      module->kernels[kernel->name] = std::move(kernel);
    } else if (token == ".version" || token == ".address_size" || token == ".target" || token == ".pragma") {
      in.rest_of_line();
    } else if (token != ".visible" && token != ".extern" && token != ".weak" && token != ";" && token != ",") {
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
