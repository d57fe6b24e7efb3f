//! Runtime dispatch: a default build runs the widest vectors that the processor has.

use std::sync::OnceLock;

use pulp::Arch;

/// The environment variable that selects a narrower instruction set, with the names of [`instruction_set`].
const SWITCH: &str = "QUADRIVIUM_SIMD";

/// What this process computes with.
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| std::env::var(SWITCH).ok().and_then(|name| named(&name)).unwrap_or_default())
}

/// The instruction set of that name, where this processor has it.
fn named(name: &str) -> Option<Arch> {
    match name {
        "scalar" => Some(Arch::Scalar),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        "avx2" => pulp::x86::V3::try_new().map(Arch::V3),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        "avx512" => pulp::x86::V4::try_new().map(Arch::V4),
        _ => None,
    }
}

/// The vector instructions that this process computes with: `avx512`, `avx2`, `neon`, `scalar`, or `other`.
///
/// It is the widest set that the processor has, or the one that the environment variable `QUADRIVIUM_SIMD`
/// names when the first number is computed: `scalar`, `avx2` or `avx512`. A set that the processor does not have is
/// ignored, so compare the variable with this result. The same seed gives the same bits on the same instruction set;
/// another set rounds sums differently.
///
/// ```
/// # if std::env::var_os("QUADRIVIUM_SIMD").is_none() {
/// assert!(["avx512", "avx2", "neon", "scalar", "other"].contains(&quadrivium::instruction_set()));
/// # }
/// ```
pub fn instruction_set() -> &'static str {
    match arch() {
        Arch::Scalar => "scalar",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(_) => "avx2",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(_) => "avx512",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "neon",
        _ => "other",
    }
}

/// Runs `f` compiled for this processor's vectors and fused multiply-add. The loops inside must be plain and
/// branch-free. Only what is inlined is compiled so: write `vectorize(#[inline(always)] || …)`, and mark
/// every function called inside `#[inline(always)]`; a large closure without the mark falls back to the
/// build's own target.
#[inline(always)]
pub(crate) fn vectorize<R>(f: impl FnOnce() -> R) -> R {
    arch().dispatch(f)
}
