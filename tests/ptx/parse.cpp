// From PTX text to decoded kernels: modules, declarations, statements.
#include <cxxabi.h>
#include <fmt/format.h>

#include <cctype>
#include <cstdlib>

#include "tests/ptx/parse.h"

namespace ptx {
namespace {

// "PTX line N: ", of what lies at this place in the text.
std::string line_of(std::string_view text, const char* at) {
  return fmt::format("PTX line {}: ", 1 + std::count(text.data(), at, '\n'));
}

class Lexer {
 public:
  // Of a part of the text.
  Lexer(std::string_view all, std::string_view part)
      : text_(all.data(), part.data() + part.size()), at_(static_cast<std::size_t>(part.data() - all.data())) {}
  bool done() { return skip(), at_ >= text_.size(); }
  char peek() { return done() ? '\0' : text_[at_]; }
  // A name or number, a string with its quotes, or one sign.
  std::string_view next() {
    if (done()) return {};
    const std::size_t begin = at_++;
    if (is_name_char(text_[begin])) {
      while (at_ < text_.size() && (is_name_char(text_[at_]) || text_.substr(at_, 2) == "::"))
        at_ += text_[at_] == ':' ? 2 : 1;
    } else if (text_[begin] == '"') {
      at_ = std::min(text_.find('"', at_), text_.size() - 1) + 1;
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
  u32 integer() { return static_cast<u32>(std::stoul(std::string(next()))); }
  std::string_view rest_of_line() {
    const std::size_t begin = at_;
    at_ = std::min(text_.find('\n', at_), text_.size());
    return text_.substr(begin, at_ - begin);
  }
  // What lies between the sign just taken and the one that closes it, which is taken, too.
  std::string_view enclosed(std::string_view open, std::string_view close) {
    const std::size_t begin = at_;
    for (int depth = 1; depth > 0 && !done();) {
      const std::string_view token = next();
      depth += token == open ? 1 : token == close ? -1 : 0;
    }
    return text_.substr(begin, at_ - 1 - begin);
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(line_of(text_, text_.data() + at_) + what);
  }

 private:
  static bool is_name_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_$%.").find(c) != std::string_view::npos;
  }
  void skip() {  // spaces and comments
    for (; at_ < text_.size(); ++at_) {
      if (text_.substr(at_, 2) == "//") rest_of_line();
      if (at_ == text_.size() || !std::isspace(static_cast<unsigned char>(text_[at_]))) return;
    }
  }
  std::string_view text_;
  std::size_t at_;
};

bool number_of(std::string_view token, u64& bits) {
  if (token.empty() || !std::isdigit(static_cast<unsigned char>(token[0]))) return false;
  const std::string text(token);
  const bool real = token.size() > 2 && std::string_view("fFdD").find(token[1]) != std::string_view::npos;
  bits = real ? std::stoull(text.substr(2), nullptr, 16) : std::stoull(text, nullptr, 0);  // of a real number its bits
  return true;
}

// .align N .type name[count][count]... as in every declaration; the leading directive has been taken. name[] has no bytes.
Variable declaration(Lexer& in) {
  Variable result;
  bool pointer = false;  // behind .ptr: of what the parameter points to
  for (result.name = in.next(); result.name.starts_with('.'); result.name = in.next()) {
    pointer |= result.name == ".ptr";
    if (result.name == ".align") {
      const u32 align = in.integer();
      if (!pointer) result.align = align;
    } else {
      result.bytes += static_cast<u64>(type_named(result.name.substr(1)).bytes);
    }
  }
  result.align = std::max(result.align, static_cast<u32>(result.bytes));
  while (in.take('[')) {
    result.bytes *= in.peek() == ']' ? 0 : in.integer();
    in.expect(']');
  }
  return result;
}

class Decoder {
 public:
  explicit Decoder(Kernel& kernel) : kernel_(kernel) {}

  void decode() {
    for (const auto& [name, at] : kernel_.module->globals) symbols_[name] = {Space::global, at};
    for (const Variable& v : kernel_.parameters) symbols_[v.name] = {Space::param, v.at};
    Lexer in(kernel_.module->text, kernel_.body_text);
    while (!in.done()) statement(in);
    for (const auto& [index, name] : branches_) {
      const auto label = labels_.find(name);
      if (label == labels_.end()) throw std::runtime_error("no label " + std::string(name));
      kernel_.code[index].imm = label->second;
    }
    Inst end;  // running off the end is a return
    end.kind = Kind::exit;
    kernel_.code.push_back(end);
    kernel_.origins.push_back({{kernel_.body_text.data() + kernel_.body_text.size(), 1}, {}});  // its brace
    place_registers(kernel_, registers_);
  }

 private:
  void add(std::vector<Variable>& to, Space space, const Variable& v) {
    to.push_back(v);
    symbols_[v.name] = {space, v.at};
  }

  void statement(Lexer& in) {
    const std::string_view token = in.next();
    if (token == "{") {
      scopes_.emplace_back();
    } else if (token == "}") {
      scopes_.pop_back();
    } else if (token == ".reg") {
      declare_registers(in);
    } else if (token == ".loc") {
      loc_ = in.rest_of_line();
    } else if (token == ".pragma") {
      in.rest_of_line();
    } else if (token == ".local" || token == ".shared") {
      if (!kernel_.code.empty()) in.fail("a variable behind the first instruction");
      token == ".local" ? add_local(declaration(in)) : add_shared(declaration(in));
    } else if (token[0] == '.') {
      in.fail("directive " + std::string(token) + " is not known");
    } else if (token != "@" && in.take(':')) {
      if (!labels_.try_emplace(token, static_cast<s64>(kernel_.code.size())).second)
        in.fail("a second label " + std::string(token));
    } else if (token != ";") {
      instruction(in, token);
    }
  }
  // Redzones of 64 bytes between variables of a thread, and of 128 between shared ones: the banks stay as they are.
  void add_local(Variable v) {
    v.at = round_up(std::max(kernel_.local_bytes, kLocalStart), std::max(16U, v.align));
    kernel_.local_bytes = static_cast<u32>(v.at + v.bytes) + 64;
    add(kernel_.local, Space::local, v);
  }
  void add_shared(Variable v) {
    v.at = round_up(kernel_.shared_end, std::max(16U, v.align));
    kernel_.static_shared = round_up(kernel_.static_shared, v.align) + static_cast<u32>(v.bytes);
    kernel_.shared_end = round_up(static_cast<u32>(v.at + v.bytes), 128) + 128;
    add(kernel_.shared, Space::shared, v);
  }

  void declare_registers(Lexer& in) {
    Type type;
    while (in.peek() == '.') type = type_named(in.next().substr(1));
    do {
      const std::string name(in.next());
      const bool many = in.take('<');
      const u32 count = many ? in.integer() : 1;
      if (many) in.expect('>');
      for (u32 i = 0; i < count; ++i) {
        scopes_.back()[many ? name + std::to_string(i) : name] = static_cast<int>(registers_.size());
        registers_.push_back(type);
      }
    } while (in.take(','));
    in.expect(';');
  }
  int register_named(std::string_view name) const {
    const std::string key(name);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->find(key); found != scope->end()) return found->second;
    }
    return -1;
  }

  void instruction(Lexer& in, std::string_view token) {
    Inst inst;
    if (token == "@") {
      inst.negated = in.take('!');
      inst.guard = register_named(in.next());
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
      const bool paired = in.take('|');
      s.paired |= paired;
      if (!paired && !in.take(',')) break;
    }
    in.expect(';');
    try {
      select(s, inst, kernel_);
    } catch (const std::exception& error) {
      in.fail(std::string(error.what()) + ": " + std::string(token));
    }
    if (inst.bytes > 0) inst.cache = kernel_.caches++;
    if (inst.kind == Kind::branch) branches_.emplace_back(kernel_.code.size(), s.operands[0].text);
    kernel_.code.push_back(inst);
    kernel_.origins.push_back({token, loc_});
  }
  // {a, b}, [a + b], !a, or a sum of names and numbers.
  Operand operand(Lexer& in) {
    Operand result;
    if (in.take('{')) {
      result.kind = Operand::vector;
      do result.parts.push_back(operand(in));
      while (in.take(','));
      in.expect('}');
      return result;
    }
    const bool address = in.take('[');
    result.negated = in.take('!');
    do term(in, result);
    while (in.take('+') || in.peek() == '-');
    if (!address) return result;
    result.kind = Operand::address;
    in.expect(']');
    return result;
  }
  void term(Lexer& in, Operand& to) {
    const bool minus = in.take('-');
    const std::string_view token = in.next();
    u64 bits = 0;
    if (number_of(token, bits)) {
      if (to.kind == Operand::sink) to.kind = Operand::number;
      to.bits += minus ? -bits : bits;
    } else if (const int id = register_named(token); id >= 0) {
      to.kind = Operand::reg;
      to.id = id;
      to.type = registers_[static_cast<std::size_t>(id)];
    } else if (const auto symbol = symbols_.find(token); symbol != symbols_.end()) {
      to.kind = Operand::number;
      to.space = symbol->second.first;
      to.bits += symbol->second.second;
    } else if (kernel_.module->dynamic_shared.contains(token)) {
      to.kind = Operand::number;
      to.space = Space::shared;
      to.bits += round_up(kernel_.shared_end, 1024);
    } else if (token != "_") {
      to.kind = Operand::name;
      to.text = token;
    }
  }

  Kernel& kernel_;
  std::vector<Type> registers_;
  std::vector<std::unordered_map<std::string, int>> scopes_{1};  // registers by name
  std::unordered_map<std::string_view, std::pair<Space, u64>> symbols_;
  std::unordered_map<std::string_view, s64> labels_;
  std::vector<std::pair<std::size_t, std::string_view>> branches_;
  std::string_view loc_;
};

// A kernel: its parameters, its limits, and where its body lies.
std::unique_ptr<Kernel> entry(Lexer& in, const Module& module) {
  auto kernel = std::make_unique<Kernel>();
  kernel->name = in.next();
  kernel->module = &module;
  for (in.expect('('); !in.take(')'); in.take(',')) {
    if (in.next() != ".param") in.fail("a parameter was expected");
    Variable v = declaration(in);
    v.at = round_up(kernel->parameter_bytes, v.align);
    kernel->parameter_bytes = static_cast<u32>(v.at + v.bytes);
    kernel->parameters.push_back(v);
  }
  while (!in.take('{')) {
    const std::string_view directive = in.next();
    if (directive != ".maxntid" && directive != ".minnctapersm")
      in.fail("directive of a kernel " + std::string(directive) + " is not known");
    int product = 1;
    do product *= static_cast<int>(in.integer());
    while (in.take(','));
    if (directive == ".maxntid") kernel->max_threads = product;
  }
  kernel->body_text = in.enclosed("{", "}");
  return kernel;
}

}  // namespace

Type type_named(std::string_view name) {
  if (name == "pred") return {'p', 0};
  static const std::set<std::string_view> numbers{"b8",  "b16", "b32", "b64", "b128", "u8",  "u16", "u32",
                                                  "u64", "s8",  "s16", "s32", "s64",  "f32", "f64"};
  return numbers.contains(name) ? Type{name[0], std::stoi(std::string(name.substr(1))) / 8} : Type{};
}

std::unique_ptr<Module> parse_module(std::string text) {
  auto module = std::make_unique<Module>();
  module->text = std::move(text);
  Lexer in(module->text, module->text);
  while (!in.done()) {
    const std::string_view token = in.next();
    if (token == ".file") {
      const u32 id = in.integer();
      module->files[id] = in.next();
      in.rest_of_line();
    } else if (token == ".section") {  // of a debugger
      while (!in.take('{')) in.next();
      in.enclosed("{", "}");
    } else if (token == ".global") {
      const Variable v = declaration(in);
      if (in.peek() == '=') in.fail("variables with initial values are not known");
      const u64 at = module->globals[v.name] = memory::allocate(std::max<std::size_t>(v.bytes, 1));
      std::memset(memory::host(at), 0, v.bytes);
      memory::mark_init(at, v.bytes);
    } else if (token == ".shared") {
      const Variable v = declaration(in);
      if (v.bytes != 0) in.fail("shared variables of known size outside a kernel are not known");
      module->dynamic_shared.insert(v.name);
    } else if (token == ".entry") {
      auto kernel = entry(in, *module);
      const std::string name = kernel->name;
      module->kernels[name] = std::move(kernel);
    } else if (token == ".version" || token == ".address_size" || token == ".target") {
      in.rest_of_line();
    } else if (token != ".visible" && token != ".extern" && token != ";") {
      in.fail("directive " + std::string(token) + " is not known");
    }
  }
  return module;
}

void decode(Kernel& kernel) {
  if (kernel.code.empty()) Decoder(kernel).decode();
}

std::string demangled(const std::string& name) {
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, nullptr),
                                                    std::free);
  return text == nullptr ? name : text.get();
}

// Where in the source, by a line of .loc: FILE LINE COLUMN, function_name ..., inlined_at FILE LINE COLUMN
static std::string source_of(const Kernel& kernel, std::string_view loc) {
  if (loc.empty()) return "(no line information)";
  const auto place = [&](std::string_view text) {
    Lexer in(text, text);
    const auto file = kernel.module->files.find(in.integer());
    const std::string_view path = file == kernel.module->files.end() ? "\"?\"" : file->second;
    const std::size_t name = path.rfind('/') + 1;
    return fmt::format("{}:{}", path.substr(name, path.size() - 1 - name), in.integer());
  };
  const std::size_t caller = loc.find("inlined_at ");
  return place(loc) + (caller == std::string_view::npos ? "" : " in " + place(loc.substr(caller + 11)));
}
std::string place_of(const Kernel& kernel, const Inst& inst) {
  const Origin& origin = kernel.origins[static_cast<std::size_t>(&inst - kernel.code.data())];
  const std::string_view text = kernel.module->text;
  const std::size_t at = static_cast<std::size_t>(origin.opcode.data() - text.data());
  const std::size_t begin = text.find_first_not_of(" \t", text.rfind('\n', at) + 1);
  std::string line(text.substr(begin, text.find('\n', at) - begin));
  std::replace(line.begin(), line.end(), '\t', ' ');
  return line_of(text, origin.opcode.data()) + line + "\n    " + source_of(kernel, origin.loc);
}

}  // namespace ptx
