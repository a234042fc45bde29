// What the parser hands to the choice of operations: an instruction as written, its operands' names resolved.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "tests/ptx/machine.h"

namespace ptx {

struct Operand {
  enum Kind { reg, number, address, vector, name, sink } kind = sink;
  int id = -1;            // reg: the virtual register; address: its base or -1
  Type type;              // of the register
  bool negated = false;   // !p
  u64 bits = 0;           // number; of an address the offset
  Space space{};          // of the variable whose address is in the bits
  std::string_view text;  // name: of a label or a special register
  std::vector<Operand> parts;
};

struct Statement {
  std::string_view opcode;
  std::vector<std::string_view> parts;  // of the opcode, between dots
  std::vector<Operand> operands;
  bool paired = false;  // two of them are written p|q
  bool has(std::string_view part) const { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); }
};

// Fills in what the instruction does (a branch's target excepted); throws std::runtime_error if it is not known.
void select(const Statement& statement, Inst& inst, Kernel& kernel);

Type type_named(std::string_view name);                                    // none: a Type of kind 0
void place_registers(Kernel& kernel, const std::vector<Type>& registers);  // registers.cpp

}  // namespace ptx
