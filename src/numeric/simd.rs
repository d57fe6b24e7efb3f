//! Runtime dispatch: a default build runs the widest vectors that the processor has.

use std::sync::OnceLock;

use pulp::Arch;

/// The instruction set found on this processor.
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(Arch::new)
}

/// Runs `f` compiled for this processor's vectors and fused multiply-add. The loops inside must be plain and
/// branch-free. Only what is inlined is compiled so: write `vectorise(#[inline(always)] || …)`, and mark
/// every function called inside `#[inline(always)]`; a large closure without the mark falls back to the
/// build's own target.
#[inline(always)]
pub(crate) fn vectorise<R>(f: impl FnOnce() -> R) -> R {
    arch().dispatch(f)
}
