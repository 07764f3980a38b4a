//! What was measured, for people and for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::load::{Kind, Recorded};
use super::{BenchArguments, Run};
use crate::cli::duration;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, show_bytes, show_count};

/// Quantiles that are shown, and how they are called.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99_9")];

/// Everything as one document; latencies and processor times in microseconds.
pub(super) fn document(arguments: &BenchArguments, runs: &[Run]) -> Value {
    let documents: Vec<Value> = runs
        .iter()
        .map(|run| {
            let measured = &run.measured;
            let kinds = kinds(run).into_iter().map(|(name, recorded)| {
                let document = json!({
                    "operations": recorded.in_time,
                    "per_second": rate(recorded.in_time, measured.duration),
                    "latency_us": latencies(&recorded.latency),
                });
                (name.to_owned(), document)
            });
            json!({
                "clients": run.clients,
                "operations": measured.in_time(),
                "per_second": rate(measured.in_time(), measured.duration),
                "kinds": kinds.collect::<serde_json::Map<_, _>>(),
                "errors": measured.errors,
                "nodes_cpu_us_per_operation": run.per_operation(run.nodes),
                "generator_cpu_us_per_operation": run.per_operation(run.generator),
            })
        })
        .collect();
    json!({
        "mix": arguments.mix.to_string(),
        "value_bytes": arguments.value_bytes,
        "keys": arguments.keys,
        "duration_ms": whole_ms(arguments.duration),
        "warmup_ms": whole_ms(arguments.warmup),
        "runs": documents,
    })
}

/// Everything as a table.
pub(super) fn print(
    output: &mut Output,
    arguments: &BenchArguments,
    runs: &[Run],
) -> Result<(), Failure> {
    output.line(format_args!(
        "{}, values of {}, {} keys, {} each after {} of warm-up, closed loop",
        arguments.mix,
        show_bytes(arguments.value_bytes as u64),
        show_count(u64::from(arguments.keys)),
        duration::show(arguments.duration),
        duration::show(arguments.warmup),
    ))?;
    let heads = [
        "CLIENTS",
        "KIND",
        "PER SECOND",
        "P50",
        "P90",
        "P99",
        "P99.9",
        "MAX",
        "NODES CPU/OP",
        "OWN CPU/OP",
    ];
    let right: Vec<&str> = heads.into_iter().filter(|head| *head != "KIND").collect();
    let mut table = output.new_table(&heads, &right);
    for run in runs {
        for (index, (name, recorded)) in kinds(run).into_iter().enumerate() {
            let first = index == 0;
            let only_first = |text: String| if first { text } else { String::new() };
            let mut row = vec![
                only_first(show_count(run.clients as u64)),
                name.to_owned(),
                show_count(rate(recorded.in_time, run.measured.duration)),
            ];
            let latency = &recorded.latency;
            row.extend(
                QUANTILES
                    .map(|(quantile, _)| latency.value_at_quantile(quantile))
                    .map(show_ns),
            );
            row.push(show_ns(latency.max()));
            row.push(only_first(show_us(run.per_operation(run.nodes))));
            row.push(only_first(show_us(run.per_operation(run.generator))));
            table.add_row(row);
        }
    }
    output.table(&table)?;
    for run in runs {
        for (kind, count) in &run.measured.errors {
            let text = format!(
                "{} clients: {} times {kind}",
                run.clients,
                show_count(*count)
            );
            let text = output.paint.red(text);
            output.line(text)?;
        }
    }
    Ok(())
}

impl Run {
    /// Microseconds of processor time for each operation.
    fn per_operation(&self, spent: Option<Duration>) -> Option<u64> {
        let micros = u64::try_from(spent?.as_micros()).ok()?;
        micros.checked_div(self.measured.in_time())
    }
}

/// The kinds of operations that there were.
fn kinds(run: &Run) -> Vec<(&'static str, &Recorded)> {
    let all = Kind::ALL.into_iter();
    all.map(|(kind, name)| (name, run.measured.kind(kind)))
        .filter(|(_, recorded)| !recorded.latency.is_empty())
        .collect()
}

fn latencies(latency: &Histogram<u64>) -> Value {
    let mut document: serde_json::Map<String, Value> = QUANTILES
        .iter()
        .map(|(quantile, name)| {
            let ns = latency.value_at_quantile(*quantile);
            ((*name).to_owned(), json!(ns / 1_000))
        })
        .collect();
    document.insert("max".into(), json!(latency.max() / 1_000));
    document.insert("samples".into(), json!(latency.len()));
    Value::Object(document)
}

/// Operations in a second, rounded down.
fn rate(operations: u64, duration: Duration) -> u64 {
    operations
        .saturating_mul(1_000)
        .checked_div(whole_ms(duration))
        .unwrap_or(0)
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn show_ns(ns: u64) -> String {
    duration::show(Duration::from_nanos(ns))
}

fn show_us(us: Option<u64>) -> String {
    us.map_or("-".into(), |us| duration::show(Duration::from_micros(us)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_and_never_divide_by_zero() {
        assert_eq!(rate(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(rate(7, Duration::ZERO), 0);
    }
}
