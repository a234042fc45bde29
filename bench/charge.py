"""What an instruction of PTX is taken to cost on a multiprocessor of sm_90: instructions of machine code, by the pipe that runs them.

The pipes, and how many instructions of warps each takes in a cycle on a multiprocessor: issue (all instructions) 4; fp32 (sums, products,
multiply-adds, of integers too) 4; integer (sums, logic, shifts, comparisons, minima, selections) 2; fp64 2; special (MUFU, bit
counts, conversions of fp64) 1/2; tensor (an m16n8k16 product) as measured; shared (lines of 128 bytes of shared memory or the
first-level cache, and shuffles) 1. An instruction that computes on 64 bits is two of 32. tests/sass_facts.py holds these charges
against machine code, kernel by kernel.
"""
import functools
import re

PIPES = ("issue", "fp32", "integer", "fp64", "special", "tensor", "shared")
# The first that fits an opcode: what it costs on each pipe; issue is their sum, and `other` what no other pipe has.
CHARGES = [
    (r"mov|cvta|ld\.param|(abs|neg)\.f32|not\.pred|(bfi|shl|or)\.b64|ret|exit|\}", {}),  # renamed registers, pairs of them, operands, modifiers
    (r"mma", {"tensor": 1}),
    (r"(ld|st|atom|red|ldu|prefetch|ldmatrix)\b", {"other": 1}),  # and the lines that are counted
    (r"shfl", {"shared": 1}),
    (r"bra$", {"other": 2}),  # most with BSSY and BSYNC, where warps part and meet; loops without
    (r"bar|barrier|membar|fence|vote|match|redux|activemask|elect|bra|brx|trap|nanosleep|call", {"other": 1}),
    (r"(div|rem)\..*64", {"integer": 30, "fp32": 30, "special": 2}),
    (r"(div|rem)\.[su](32|16)", {"integer": 10, "fp32": 6, "special": 3}),
    (r"div\..*f32", {"fp32": 6, "special": 2, "other": 4}),
    (r"(sqrt|rcp)\.rn.*f32", {"fp32": 4, "special": 1, "integer": 2, "other": 2}),
    (r"(ex2|lg2|sin|cos|tanh|rsqrt|rcp|sqrt)\..*f32", {"special": 1, "fp32": 1}),
    (r"(div|sqrt|rcp)\..*f64", {"fp64": 8, "special": 1}),
    (r"cvt\..*f64|(popc|clz|brev|bfind)\.", {"special": 1}),
    (r".*\.f64", {"fp64": 1}),
    (r"cvt\.(u64\.u32|u32\.u64|u16|s16|u8|s8|b16|b32|u32\.u(16|8)|u32\.s)", {}),
    (r"cvt", {"integer": 1}),
    (r"(add|sub|mul|fma|mad)\..*f32", {"fp32": 1}),
    (r"(mul|mad)\.(lo|hi)\.[su]64", {"fp32": 4}),
    (r"(mul|mad|mul24|mad24)\.", {"fp32": 1}),
    (r"(and|or|xor)\.pred", {"integer": 0.5}),
    (r"(min|max)\.[su]64", {"integer": 4}),
    (r"(add|sub)\.[su]64", {"integer": 1, "fp32": 1}),  # IADD3 and IMAD.X
    (r"or\.b32", {}),  # part of the shift before it (LEA) or of the logic round it (LOP3)
    (r"\w+\.(\w+\.)*[subf]64", {"integer": 2}),
    (r"", {"integer": 1}),
]


@functools.cache
def charge(opcode):
    """{pipe: instructions of a warp} of one instruction; without the lines of memory."""
    costs = next(costs for pattern, costs in CHARGES if re.match(pattern, opcode))
    return {**{pipe: n for pipe, n in costs.items() if pipe != "other"}, "issue": sum(costs.values())}


def charged(opcodes):
    """The same of what a kernel issued: {opcode: [instructions, lanes, sectors or passes]}."""
    sums = dict.fromkeys(PIPES, 0.0)
    for opcode, (issued, _, extra) in opcodes.items():
        for pipe, n in charge(opcode).items():
            sums[pipe] += n * issued
        is_shared = re.search(r"\.shared\b", opcode)
        sums["shared"] += extra if is_shared else extra / 4  # a line is four sectors
    return sums
