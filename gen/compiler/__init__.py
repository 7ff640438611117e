"""The program compiler: a GEMM becomes a binary program and a memory image. It knows no family by name."""

from gen.compiler.compile import compile_gemm
from gen.compiler.layout import GUARD
from gen.compiler.program import Program
from gen.compiler.tiling import DoesNotFit, Gemm

__all__ = ["GUARD", "DoesNotFit", "Gemm", "Program", "compile_gemm"]
