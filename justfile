# Read-only: everything that CI checks.
verify:
    .ci/run

# Rewrites what can be rewritten by machine.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# A three-node cluster on loopback that shows what it can do.
demo:
    cargo run --release --bin engram -- demo

# A long simulation campaign: `just soak 0 10000`.
soak from to:
    cargo run --profile sim --bin engram-sim -- run --jobs 2 --seeds {{from}}..{{to}}
