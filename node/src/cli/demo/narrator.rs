//! Tells what the demo does, and keeps what held and what did not.

use std::fmt;
use std::time::{Duration, Instant};

use comfy_table::{Cell, Color};
use serde_json::{Value, json};

use crate::cli::duration;
use crate::cli::exit::Failure;
use crate::cli::output::Output;

/// Prints steps and checks, as they happen, or all at the end as JSON.
pub(super) struct Narrator {
    output: Output,
    started: Instant,
    steps: Vec<Step>,
}

/// One step of the demo.
struct Step {
    title: &'static str,
    started: Instant,
    took: Duration,
    checks: Vec<Check>,
}

/// Something that was to hold.
struct Check {
    claim: String,
    holds: bool,
    found: String,
}

impl Narrator {
    /// Begins.
    pub(super) fn new(output: Output) -> Narrator {
        Narrator {
            output,
            started: Instant::now(),
            steps: Vec::new(),
        }
    }

    /// Prints a line, unless JSON is wanted.
    pub(super) fn say(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        if self.output.json {
            return Ok(());
        }
        self.output.line(line)?;
        self.output.flush()
    }

    /// Prints a line that is less conspicuous.
    pub(super) fn note(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        let line = self.output.paint.dim(format_args!("     {line}"));
        self.say(line)
    }

    /// Begins the next step.
    pub(super) fn begin(&mut self, title: &'static str) -> Result<(), Failure> {
        self.end_step();
        let number = self.steps.len() + 1;
        self.steps.push(Step {
            title,
            started: Instant::now(),
            took: Duration::ZERO,
            checks: Vec::new(),
        });
        let title = self.output.paint.bold(format_args!("{number}  {title}"));
        self.say(format_args!("\n{title}"))
    }

    /// Notes whether what was to hold did, with what was found.
    pub(super) fn check(
        &mut self,
        claim: impl Into<String>,
        holds: bool,
        found: impl Into<String>,
    ) -> Result<(), Failure> {
        let (claim, found) = (claim.into(), found.into());
        let paint = self.output.paint;
        if holds {
            let (mark, detail) = (paint.green("✓"), paint.dim(&found));
            self.say(format_args!("   {mark} {claim}  {detail}"))?;
        } else {
            let mark = paint.red("✗");
            let expected = paint.red(format_args!("expected: {claim}"));
            self.say(format_args!("   {mark} {expected}\n     found:    {found}"))?;
        }
        if let Some(step) = self.steps.last_mut() {
            step.checks.push(Check {
                claim,
                holds,
                found,
            });
        }
        Ok(())
    }

    /// Ends with a summary. `nodes` is what programs are told about the processes, `guide` what
    /// people are told about them, if anything.
    ///
    /// # Errors
    /// [`Failure`] if something did not hold.
    pub(super) fn finish(mut self, nodes: Value, guide: Option<String>) -> Result<(), Failure> {
        self.end_step();
        let took = self.started.elapsed();
        let checks = || self.steps.iter().flat_map(|step| &step.checks);
        let total = checks().count();
        let failed = checks().filter(|check| !check.holds).count();
        if self.output.json {
            let document = self.document(failed == 0, took, nodes);
            self.output.json(&document)?;
        } else {
            self.print_summary(total, failed, took)?;
            if let Some(guide) = guide {
                self.output.line(guide)?;
            }
        }
        self.output.flush()?;
        if failed == 0 {
            Ok(())
        } else {
            Err(Failure::other(format_args!(
                "{failed} of {total} checks failed"
            )))
        }
    }

    fn end_step(&mut self) {
        if let Some(step) = self.steps.last_mut()
            && step.took.is_zero()
        {
            step.took = step.started.elapsed();
        }
    }

    fn print_summary(
        &mut self,
        total: usize,
        failed: usize,
        took: Duration,
    ) -> Result<(), Failure> {
        let mut table = self
            .output
            .new_table(&["STEP", "CHECKS", "TIME"], &["TIME"]);
        for step in &self.steps {
            let held = step.checks.iter().filter(|check| check.holds).count();
            let all = step.checks.len();
            let color = if held == all {
                Color::Green
            } else {
                Color::Red
            };
            table.add_row(vec![
                Cell::new(step.title),
                Cell::new(format!("{held} of {all} held")).fg(color),
                Cell::new(duration::show(step.took)),
            ]);
        }
        self.output.line("")?;
        self.output.table(&table)?;
        let took = duration::show(took);
        let verdict = if failed == 0 {
            let held = format!("All {total} checks held");
            self.output.paint.green(held)
        } else {
            let missed = format!("{failed} of {total} checks failed");
            self.output.paint.red(missed)
        };
        self.output.line(format_args!("{verdict} in {took}."))
    }

    fn document(&self, ok: bool, took: Duration, nodes: Value) -> Value {
        let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let checks: Vec<Value> = step
                    .checks
                    .iter()
                    .map(|check| {
                        json!({ "claim": check.claim, "holds": check.holds, "found": check.found })
                    })
                    .collect();
                json!({ "title": step.title, "took_ms": ms(step.took), "checks": checks })
            })
            .collect();
        json!({ "ok": ok, "took_ms": ms(took), "steps": steps, "cluster": nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::OutputArguments;

    fn narrator() -> Narrator {
        Narrator::new(OutputArguments { json: true }.open())
    }

    #[test]
    fn one_check_that_fails_fails_the_demo() {
        for (holds, code) in [(true, None), (false, Some(1))] {
            let mut narrator = narrator();
            narrator.begin("one").expect("nothing is printed");
            narrator.check("a", true, "").expect("nothing is printed");
            narrator.begin("two").expect("nothing is printed");
            narrator
                .check("b", holds, "found")
                .expect("nothing is printed");
            let document = narrator.document(holds, Duration::from_millis(7), Value::Null);
            assert_eq!(document["steps"][1]["checks"][0]["holds"], json!(holds));
            let failure = narrator.finish(Value::Null, None).err();
            assert_eq!(failure.map(|failure| failure.code), code);
        }
    }
}
