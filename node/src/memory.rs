//! How much memory this machine has.

/// Half of the memory of this machine, in bytes; without bound if that is not known.
pub(crate) fn half_of_memory() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib.saturating_mul(1024) / 2)
}
