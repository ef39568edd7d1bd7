"""Kernels are optimised together with the kernels they call, once, where Python calls.

numba optimises every kernel and makes machine code of it, also of those that Python never calls,
and what a kernel calls it optimises again with each caller: the leaves of a deep tree of calls many
times. Here a kernel stays plain LLVM code (`Pieces`) until Python calls it; then all that it needs
is linked into one module, with the entry for Python, and optimised. So code does not depend on what
was compiled before, either.

This leans on numba's insides: see `smalgos._jit.KNOWN`.
"""

# mypy: disable-error-code="no-untyped-call,attr-defined,call-arg"

import copy
from collections.abc import Callable
from typing import Any

from numba.core import compiler, sigutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.environment import Environment
from numba.core.registry import CPUDispatcher


class _NoAddresses:
    """In the place of a code generator, which would note where a kernel's globals are."""

    @staticmethod
    def set_env(name: str, env: Any) -> None:
        """They are nowhere yet."""


class Pieces(JITCodeLibrary):  # type: ignore[misc]
    """LLVM code of a kernel and of all that it calls, to be linked."""

    codegen = _NoAddresses

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Null: there is no machine code."""
        self._ensure_finalized()
        return 0


class _Compiler(compiler.Compiler):  # type: ignore[misc]
    """Numba's compiler, which leaves pieces."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function."""
        self.state.flags.no_cpython_wrapper = True
        self.state.flags.no_cfunc_wrapper = True
        self.state.library = Pieces(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


class Kernel(CPUDispatcher):  # type: ignore[misc]
    """A kernel as Python calls it, and, in pieces, as other kernels do."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=options)
        self._pieces = CPUDispatcher(function, targetoptions=options, pipeline_class=_Compiler)

    def compile(self, sig: Any) -> Any:
        """What Python calls, for arguments of some types."""
        args, _ = sigutils.normalize_signature(sig)
        with global_compiler_lock:
            known = self.overloads.get(tuple(args))
            if known is not None:
                return known.entry_point
            found = self._cache.load_overload(sig, self.targetctx)
            if found is not None:
                self._cache_hits[sig] += 1
                self.add_overload(found)
            else:
                self._cache_misses[sig] += 1
                found = self._whole(tuple(args))
                self.add_overload(found)
                self._cache.save_overload(sig, found)
            return found.entry_point

    def _whole(self, args: tuple[Any, ...]) -> Any:
        """The pieces and an entry for Python, optimised."""
        self._pieces.compile(args)
        pieces = self._pieces.overloads[args]
        context, named = pieces.target_context, copy.copy(pieces.fndesc)
        # Not that of the pieces, by which one from the cache would be taken for known.
        named.env_name += "_whole"
        env = Environment.from_fndesc(named)
        library = context.codegen().create_library(pieces.library.name)
        library.enable_object_caching()
        library.add_linking_library(pieces.library)
        nogil = self.targetoptions.get("nogil", False)
        with context.push_code_library(library):
            context.create_cpython_wrapper(
                library, named, env, pieces.call_helper, release_gil=nogil
            )
        entry = context.get_executable(library, named, env)
        found = pieces._replace(library=library, entry_point=entry, fndesc=named, environment=env)
        for other in found._find_referenced_environments():
            library.codegen.set_env(other.env_name, other)
        return found

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """The types of a call by a kernel."""
        return self._pieces.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """What a kernel calls."""
        return self._pieces.get_overload(sig)

    @property
    def is_compiling(self) -> Any:
        """Whether a kernel that calls itself is being compiled."""
        return self._pieces.is_compiling


def linked(function: Callable[..., Any], *, cache: bool = False, **options: Any) -> Kernel:
    """Make a function a kernel; options as for `smalgos._jit.kernel`."""
    made = Kernel(function, {"nopython": True, "boundscheck": None} | options)
    if cache:
        made.enable_caching()
    return made
