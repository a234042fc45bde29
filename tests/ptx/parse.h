// What the parser hands to the choice of operations: an instruction as written, and the means to name its operands.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "tests/ptx/machine.h"

namespace ptx {

struct Operand {
  enum Kind { reg, number, address, vector, symbol, sink } kind = sink;
  int id = -1;              // reg: the virtual register; address: its base or -1
  int second = -1;          // reg: the q of p|q
  bool negated = false;     // !p
  std::uint64_t bits = 0;   // number
  std::string_view name;    // symbol, or of an address
  std::int64_t offset = 0;  // address
  std::vector<Operand> parts;
};

struct Statement {
  std::string_view opcode;
  std::vector<std::string_view> parts;  // of the opcode, between dots
  std::vector<Operand> operands;
  bool has(std::string_view part) const { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); }
  Type type() const;  // the last part that is one
};

struct Builder {
  virtual ~Builder() = default;
  virtual Type register_type(int id) const = 0;
  virtual Ref constant(std::uint64_t bits, int lane_bytes) = 0;  // lane_bytes 0: a predicate
  virtual std::uint64_t symbol(std::string_view name, Space& space) = 0;
  virtual std::uint32_t table(std::string_view name) = 0;
  virtual std::uint32_t label(std::string_view name) = 0;  // resolved later: an index of labels
};

// Fills in what the instruction does; throws std::runtime_error if it is not known.
void select(const Statement& statement, Inst& inst, Builder& builder);

Type type_named(std::string_view name);
void place_registers(Kernel& kernel, const std::vector<Type>& registers);  // registers.cpp

}  // namespace ptx
