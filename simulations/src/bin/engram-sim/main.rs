//! x
fn main() {
    let mut args = std::env::args().skip(1).filter_map(|a| a.parse::<u64>().ok());
    let (from, to) = (args.next().unwrap_or(0), args.next().unwrap_or(1));
    let begun = std::time::Instant::now();
    let mut v = 0; let mut d = 0;
    std::panic::set_hook(Box::new(|i| if !i.to_string().contains("injected") { eprintln!("{i}") }));
    for seed in from..to {
        let mut setup = engram_simulations::cluster::Setup::draw(seed);
        if std::env::var_os("TRACE").is_some() { setup.record = engram_simulations::cluster::trace::Record::Lines; }
        let o = engram_simulations::cluster::run(&setup);
        v += o.virtual_us; d += o.counters.delivered;
        println!("seed {seed} {:016x} ev {} virt {:.1}s n{} {:?}", o.hash, o.events, o.virtual_us as f64/1e6, setup.profile.nodes, o.counters);
        for l in &o.lines { println!("{:>12} {} {:?} {}", l.at_us, l.kind, l.node, l.text); }
        for x in &o.violations { println!("  VIOLATION {}", x.to_string().chars().take(3000).collect::<String>()); }
    }
    let w = begun.elapsed().as_secs_f64();
    println!("{:.1} virtual s/s, {:.0} msg/s, {:.1} s", v as f64/1e6/w, d as f64/w, w);
}
