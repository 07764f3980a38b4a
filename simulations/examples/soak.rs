//! Runs seeds FROM..TO and reports: `cargo run -p engram-simulations --example soak -- 0 10000`.

use std::time::Instant;

use engram_simulations::campaign::{Summary, run_seed};

fn main() -> std::process::ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let [from, to] = numbers.as_slice() else {
        eprintln!("usage: soak FROM TO");
        return std::process::ExitCode::from(2);
    };
    let (begun, mut summary) = (Instant::now(), Summary::default());
    for seed in *from..*to {
        let outcome = run_seed(seed, std::env::var_os("ENGRAM_TRACE").is_some());
        for violation in &outcome.violations {
            let story = violation.to_string();
            if to - from == 1 {
                println!("seed {seed}: {story}");
            } else {
                let start: String = story.chars().take(300).collect();
                println!("seed {seed}: {}", start.replace('\n', " "));
            }
        }
        summary.add(outcome);
    }
    let wall_s = begun.elapsed().as_secs_f64();
    println!("{summary}; {wall_s:.1} s");
    std::process::ExitCode::from(u8::from(!summary.failed.is_empty()))
}
