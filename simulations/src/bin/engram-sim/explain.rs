//! Results in words and tables.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableStyle};
use engram_simulations::cluster::{Recoveries, Setup};

use crate::args::Run;
use crate::worker::SeedResult;

/// What many runs amount to.
#[derive(Debug, Default)]
pub(crate) struct Total {
    pub(crate) seeds: u64,
    pub(crate) events: u64,
    pub(crate) messages: u64,
    pub(crate) virtual_us: u64,
    pub(crate) busy_ms: u64,
    pub(crate) wall: Duration,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) recoveries: Recoveries,
    pub(crate) longest: BTreeMap<String, u64>,
    pub(crate) failed: Vec<SeedResult>,
}

impl Total {
    pub(crate) fn add(&mut self, result: SeedResult) {
        self.seeds += 1;
        self.events += result.events;
        self.messages += result.messages;
        self.virtual_us += result.virtual_us;
        self.busy_ms += result.wall_ms;
        for (name, count) in &result.counters {
            *self.counters.entry(name.clone()).or_default() += count;
        }
        for (kind, times) in &result.recoveries.0 {
            let known = self.recoveries.0.entry(kind.clone()).or_default();
            known.extend(times);
        }
        for (queue, length) in &result.longest {
            let longest = self.longest.entry(queue.clone()).or_default();
            *longest = (*longest).max(*length);
        }
        if !result.violations.is_empty() {
            self.failed.push(result);
        }
    }
}

/// A table with these columns.
pub(crate) fn columns(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::default());
    table.set_header(names.iter().copied());
    table
}

/// Many runs as tables.
pub(crate) fn table(total: &Total) -> String {
    let busy_s = (total.busy_ms as f64 / 1e3).max(0.001);
    let virtual_s = total.virtual_us as f64 / 1e6;
    let mut text = format!(
        "{} seeds, {} failed, in {:.1} s ({:.1} seeds/s)\n{:.0} virtual seconds, {} events, {} messages: on one \
         core {:.0} virtual seconds a second, {:.0} messages a second\n",
        total.seeds,
        total.failed.len(),
        total.wall.as_secs_f64(),
        total.seeds as f64 / total.wall.as_secs_f64().max(0.001),
        virtual_s,
        total.events,
        total.messages,
        virtual_s / busy_s,
        total.messages as f64 / busy_s,
    );
    text.push_str(&counted(&total.counters));
    if !total.longest.is_empty() {
        let longest: Vec<String> = total
            .longest
            .iter()
            .map(|(queue, length)| format!("{queue} {length}"))
            .collect();
        text.push_str(&format!("\nlongest queues: {}", longest.join(", ")));
    }
    if !total.recoveries.0.is_empty() {
        text.push('\n');
        text.push_str(&recovery(&total.recoveries));
    }
    text
}

fn counted(counters: &BTreeMap<String, u64>) -> String {
    let mut table = columns(&["what", "count", "what", "count", "what", "count"]);
    let all: Vec<(&String, &u64)> = counters.iter().collect();
    for row in all.chunks(3) {
        let cells = row
            .iter()
            .flat_map(|(name, count)| [name.replace('_', " "), count.to_string()]);
        table.add_row(cells);
    }
    for column in [1, 3, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// How long it took until an operation begun after a fault succeeded.
fn recovery(recoveries: &Recoveries) -> String {
    let mut table = columns(&[
        "from failure to first success",
        "times",
        "median ms",
        "worst ms",
    ]);
    for (kind, times) in &recoveries.0 {
        let mut times = times.clone();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or(0);
        let worst = times.last().copied().unwrap_or(0);
        table.add_row([
            kind.clone(),
            times.len().to_string(),
            format!("{:.1}", median as f64 / 1e3),
            format!("{:.1}", worst as f64 / 1e3),
        ]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// One run: its world, its faults, what came of it.
pub(crate) fn one(setup: &Setup, result: &SeedResult) {
    println!("seed {}, trace {}", result.seed, result.hash);
    println!("{:?}", setup.profile);
    for planned in &setup.faults {
        println!("  {:>7} ms  {:?}", planned.at_ms, planned.fault);
    }
    let mut total = Total {
        wall: Duration::from_millis(result.wall_ms),
        ..Total::default()
    };
    total.add(result.clone());
    println!("{}", table(&total));
}

/// What failed.
pub(crate) fn failure(result: &SeedResult) {
    eprintln!("seed {} failed:", result.seed);
    for (property, story) in &result.violations {
        let mut lines = story.lines();
        let first: String = lines.next().unwrap_or_default().chars().take(600).collect();
        eprintln!("  {property}: {first}");
        for line in lines.take(60) {
            eprintln!("  {}", line.chars().take(300).collect::<String>());
        }
    }
}

/// The command that runs a seed again.
pub(crate) fn again(result: &SeedResult, arguments: &Run) -> String {
    let (level, seed) = (result.level, result.seed);
    let mut command = format!("engram-sim run --level {level} --seed {seed}");
    if let Some(mutant) = arguments.mutant {
        command.push_str(&format!(" --mutant {}", mutant.name()));
    }
    if let Some(nodes) = arguments.nodes {
        command.push_str(&format!(" --nodes {nodes}"));
    }
    if level == 2 {
        command.push_str(" --trace trace.jsonl --timeline timeline.svg");
    }
    command
}
