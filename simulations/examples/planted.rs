//! Which seeds catch a planted fault: `cargo run -p engram-simulations --example planted -- NAME SEEDS`.

use engram_simulations::campaign::find_planted;
use engram_simulations::profile::Planted;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, seeds) = (arguments.next(), arguments.next());
    let seeds = seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    let planted = Planted::ALL
        .into_iter()
        .filter(|planted| name.is_none() || name == Some(format!("{planted:?}")));
    std::panic::set_hook(Box::new(|_| {}));
    for planted in planted {
        for clients_only in [false, true] {
            let by = if clients_only { "by clients" } else { "by all" };
            match find_planted(planted, clients_only, seeds) {
                Some((seed, violation)) => {
                    let story: String = violation.to_string().chars().take(200).collect();
                    println!("{planted:?} {by}: seed {seed}: {story}");
                }
                None => println!("{planted:?} {by}: not caught in {seeds} seeds"),
            }
        }
    }
    std::process::ExitCode::SUCCESS
}
