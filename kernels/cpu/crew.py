"""Several threads inside one call of a kernel, for work whose phases are too short to hand out.

Each member of a crew runs the same kernel. Tasks of a phase are taken by an atomic counter, phases
are parted by a barrier that spins a little, then yields. What tasks compute must not depend on who
takes them; then neither does the result. A member that fails, which compiled code does only when
bounds are checked, lets the others go: their next barrier tells them.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from smalgos._jit import COMPILED, kernel

ARRIVED, GONE_ON, FAILED, TAKEN = 0, 8, 16, 24  # places in `ctl`, each in its own cache line
SPINS = 200

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def atomic_add(typingctx: Any, array: Any, at: Any, more: Any) -> Any:
        """Add to an int64 of an array; what it was before."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            array, at, more = args
            data = context.make_array(sig.args[0])(context, builder, array).data
            at = context.cast(builder, at, sig.args[1], types.intp)
            more = context.cast(builder, more, sig.args[2], types.int64)
            return builder.atomic_rmw("add", builder.gep(data, [at]), more, "seq_cst")

        return types.int64(array, at, more), codegen

    @intrinsic
    def give_way(typingctx: Any) -> Any:
        """Let another thread of the system run."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
            return context.get_dummy_value()

        return types.void(), codegen

else:

    def atomic_add(array: Any, at: int, more: int) -> Any:
        before = array[at]
        array[at] += more
        return before

    def give_way() -> None:
        pass


@kernel
def take(ctl, tasks):
    """The next task of a phase, or -1 when all are taken."""
    task = atomic_add(ctl, TAKEN, 1)
    return task if task < tasks else -1


@kernel
def wait(ctl, members):
    """Wait until all members are here, before the next phase; whether to go on."""
    if members == 1:
        ctl[TAKEN] = 0
        return True
    turn = atomic_add(ctl, GONE_ON, 0)
    if atomic_add(ctl, ARRIVED, 1) == members - 1:
        ctl[TAKEN] = 0
        atomic_add(ctl, ARRIVED, -members)
        atomic_add(ctl, GONE_ON, 1)
    else:
        spins = 0
        while atomic_add(ctl, GONE_ON, 0) == turn:
            spins += 1
            if spins > SPINS:
                if atomic_add(ctl, FAILED, 0):
                    return False
                give_way()
    return atomic_add(ctl, FAILED, 0) == 0


class Crew:
    """Threads that run a kernel together.

    Parameters
    ----------
    members : int
        How many, the calling thread included.
    """

    def __init__(self, members: int) -> None:
        self.asked = members
        self.members = members if COMPILED else 1  # Python's own threads would wait for each other
        self.ctl = np.zeros(TAKEN + 8, np.int64)
        self._pool = ThreadPoolExecutor(self.members - 1) if self.members > 1 else None

    def run(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function(member, members, ctl, *args)`` on every member."""
        self.ctl[:] = 0
        if self._pool is None:
            function(0, 1, self.ctl, *args)
            return

        def work(member: int) -> None:
            try:
                function(member, self.members, self.ctl, *args)
            except BaseException:
                self.ctl[FAILED] = 1
                raise

        others = [self._pool.submit(work, member) for member in range(1, self.members)]
        try:
            work(0)
        finally:
            errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(RuntimeError):
            self.close()
