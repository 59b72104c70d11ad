//! Throughput of the translator as a library: the twin of the Go program `translate` in the
//! neighbour folder's `bench/`, with the same inputs, rounds and table. `bench/run translate` runs
//! both.
//!
//! `cargo bench --no-default-features --bench translate -- SNIPPETS_FOLDER CONFIG.bu...`
#![expect(
    clippy::print_stdout,
    reason = "a table for the terminal and for docs/benchmarks.md"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flatcar::ignition::{Document, Input, Options, Origin, Style, render};

/// Rounds go over all inputs in turn, so that drift hits all alike.
const ROUNDS: usize = 9;
const PER_ROUND: Duration = Duration::from_millis(300);

struct Job {
    name: String,
    bytes_in: usize,
    bytes_out: usize,
    input: Input,
    style: Style,
    times: u32,
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

impl Job {
    fn new(name: String, style: Style, texts: &[String]) -> Self {
        let documents = texts
            .iter()
            .enumerate()
            .map(|(position, text)| Document {
                origin: position
                    .checked_sub(1)
                    .map_or(Origin::Content, Origin::Snippet),
                text: text.clone(),
            })
            .collect();
        Self {
            name,
            bytes_in: texts.iter().map(String::len).sum(),
            bytes_out: 0,
            input: Input { documents },
            style,
            times: 1,
            cpu: Vec::new(),
            wall: Vec::new(),
        }
    }

    /// Microseconds of processor and of wall time for one rendering.
    fn measure(&mut self) -> (f64, f64) {
        let options = Options {
            style: self.style,
            ..Options::default()
        };
        let (processor, clock) = (processor_time(), Instant::now());
        for _ in 0..self.times {
            let (rendered, report) = render(&self.input, &options);
            assert!(
                report.entries.is_empty(),
                "{}: {:?}",
                self.name,
                report.entries
            );
            self.bytes_out = rendered.map_or(0, |rendered| rendered.json.len());
        }
        let wall = clock.elapsed();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(self.times);
        (each(processor_time().saturating_sub(processor)), each(wall))
    }
}

/// Of this thread, which does all the work.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn main() {
    // Cargo adds `--bench` of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let snippets = arguments.next().map(PathBuf::from);
    let mut jobs = Vec::new();
    for config in arguments.map(PathBuf::from) {
        let name = config
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = read(&config);
        jobs.push(Job::new(
            format!("{name}/butane"),
            Style::Butane,
            std::slice::from_ref(&text),
        ));
        jobs.push(Job::new(
            format!("{name}/ct"),
            Style::Ct,
            std::slice::from_ref(&text),
        ));
        if let Some(folder) = snippets.as_deref().filter(|_| name.starts_with("typical")) {
            let mut files: Vec<PathBuf> = fs::read_dir(folder)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect();
            files.sort();
            let texts: Vec<String> = std::iter::once(text)
                .chain(files.iter().map(|file| read(file)))
                .collect();
            jobs.push(Job::new(
                format!("{name}+{}snippets/ct", files.len()),
                Style::Ct,
                &texts,
            ));
        }
    }
    for job in &mut jobs {
        let (_, wall) = job.measure();
        job.times = (PER_ROUND.as_secs_f64() * 1e6 / wall).clamp(1.0, 1e6) as u32;
    }
    for _ in 0..ROUNDS {
        for job in &mut jobs {
            let (cpu, wall) = job.measure();
            job.cpu.push(cpu);
            job.wall.push(wall);
        }
    }
    println!("Ours, {ROUNDS} rounds; median (min..max)\n");
    println!("| input | bytes in | bytes out | CPU us | wall us | MB/s (wall) |");
    println!("|---|---|---|---|---|---|");
    for job in &mut jobs {
        let (cpu, wall) = (spread(&mut job.cpu), spread(&mut job.wall));
        let speed = job.bytes_in as f64 / job.wall[ROUNDS / 2];
        println!(
            "| {} | {} | {} | {cpu} | {wall} | {speed:.2} |",
            job.name, job.bytes_in, job.bytes_out
        );
    }
}

fn read(file: &Path) -> String {
    match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// Sorts.
fn spread(figures: &mut [f64]) -> String {
    figures.sort_by(f64::total_cmp);
    let (middle, last) = (figures[figures.len() / 2], figures[figures.len() - 1]);
    format!("{middle:.0} ({:.0}..{last:.0})", figures[0])
}
