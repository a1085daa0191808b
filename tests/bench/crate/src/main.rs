// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

//! The imago crate under the same requests as the C programs beside it (see bench-common.c).
//!
//! Built twice, with the feature `sync` (native synchronous calls) and with `async`. The file
//! storage of the crate finishes every future at its first poll, so requests in flight cannot
//! overlap whatever their number; the fastest way to run it asynchronously is one loop inside one
//! block_on (), and that is what is measured here.

use std::env;
use std::fs;
use std::io;
use std::process::exit;
use std::time::Instant;

use imago::file::File;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, Storage, StorageOpenOptions};

const LOCAL_WINDOW: u64 = 1 << 20;
const LOCAL_RUN: u32 = 64;

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Random,
    Local,
    Stride,
}

struct Options {
    path: String,
    call: String,
    order: Order,
    range: u64,
    block_size: u64,
    count: u64,
    warm_up: u64,
    seed: u64,
    stride: u64,
}

fn fail(message: &str) -> ! {
    eprintln!("bench-crate: {message}");
    exit(1);
}

fn parse_options() -> Options {
    let mut options = Options {
        path: String::new(),
        call: "read".into(),
        order: Order::Random,
        range: 0,
        block_size: 4096,
        count: 1,
        warm_up: 0,
        seed: 1,
        stride: 0,
    };
    for argument in env::args().skip(1) {
        let Some((name, value)) = argument.split_once('=') else {
            options.path = argument;
            continue;
        };
        let number = || {
            value
                .parse::<u64>()
                .unwrap_or_else(|_| fail("not a number"))
        };
        match name {
            "--call" => options.call = value.into(),
            "--order" => {
                options.order = match value {
                    "random" => Order::Random,
                    "local" => Order::Local,
                    "stride" => Order::Stride,
                    _ => fail("unknown order"),
                }
            }
            "--range" => options.range = number(),
            "--block-size" => options.block_size = number(),
            "--count" => options.count = number(),
            "--warm-up" => options.warm_up = number(),
            "--seed" => options.seed = number(),
            "--stride" => options.stride = number(),
            _ => fail("unknown option"),
        }
    }
    if options.path.is_empty() || options.block_size < 8 || options.range < options.block_size {
        fail("one image and its --range are needed");
    }
    if options.stride == 0 {
        options.stride = options.block_size;
    }
    options
}

struct Sequence<'a> {
    options: &'a Options,
    state: u64,
    offset: u64,
    window: u64,
    n_in_window: u32,
}

impl<'a> Sequence<'a> {
    fn new(options: &'a Options) -> Self {
        Sequence {
            options,
            state: options.seed,
            offset: 0,
            window: 0,
            n_in_window: 0,
        }
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }

    fn next(&mut self) -> u64 {
        let Options {
            range,
            block_size,
            stride,
            ..
        } = *self.options;
        match self.options.order {
            Order::Random => self.random() % (range / block_size) * block_size,
            Order::Local => {
                let window_size = LOCAL_WINDOW.min(range);
                if self.n_in_window % LOCAL_RUN == 0 {
                    self.window = self.random() % (range / window_size) * window_size;
                }
                self.n_in_window += 1;
                self.window + self.random() % (window_size / block_size) * block_size
            }
            Order::Stride => {
                let offset = self.offset;
                self.offset = (offset + stride) % range;
                offset.min(range - block_size)
            }
        }
    }
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;

/// Seconds of processor time of the whole process (64-bit Linux).
fn processor_time() -> f64 {
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.seconds as f64 + time.nanoseconds as f64 / 1e9
}

struct Measured {
    sum: u64,
    n_requests: u64,
    begin: Instant,
    processor: f64,
}

impl Measured {
    fn begin() -> Self {
        Measured {
            sum: 0,
            n_requests: 0,
            processor: processor_time(),
            begin: Instant::now(),
        }
    }

    fn add(&mut self, block: &[u8]) {
        let first = u64::from_ne_bytes(block[..8].try_into().unwrap());
        let last = u64::from_ne_bytes(block[block.len() - 8..].try_into().unwrap());
        self.sum = self.sum.wrapping_add(first ^ (last << 1));
        self.n_requests += 1;
    }

    fn print(&self, options: &Options) {
        let seconds = self.begin.elapsed().as_secs_f64();
        let processor = processor_time() - self.processor;
        println!(
            "seconds={seconds:.6} processor={processor:.6} requests={} sum={:016x} peak_kib={} block={}",
            self.n_requests,
            self.sum,
            peak_kib(),
            options.block_size
        );
    }
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0)
}

fn open_options(options: &Options) -> StorageOpenOptions {
    StorageOpenOptions::new()
        .filename(&options.path)
        .write(options.call == "write")
}

/// The body of both programs; `$await` is `.await` in one and nothing in the other.
macro_rules! program {
    ($($async:ident)?, $($await:tt)*) => {
        $($async)? fn open(options: &Options) -> io::Result<FormatAccess<File>> {
            let file = File::open(open_options(options)) $($await)* ?;
            if options.path.ends_with(".raw") {
                let raw = Raw::<File>::builder(file).open(DenyImplicitOpenGate::default()) $($await)* ?;
                return Ok(FormatAccess::new(raw));
            }
            let qcow2 = Qcow2::<File>::builder(file)
                .write(options.call == "write")
                .open(DenyImplicitOpenGate::default()) $($await)* ?;
            Ok(FormatAccess::new(qcow2))
        }

        $($async)? fn measure_read(options: &Options) -> io::Result<Measured> {
            let image = open(options) $($await)* ?;
            let mut sequence = Sequence::new(options);
            let mut buffer = vec![0u8; options.block_size as usize];
            for _ in 0..options.warm_up {
                image.read(&mut buffer, sequence.next()) $($await)* ?;
            }
            let mut measured = Measured::begin();
            for _ in 0..options.count {
                image.read(&mut buffer, sequence.next()) $($await)* ?;
                measured.add(&buffer);
            }
            Ok(measured)
        }

        /// What is written depends on the offset alone. The clock stops before the flush.
        $($async)? fn measure_write(options: &Options) -> io::Result<Measured> {
            let image = open(options) $($await)* ?;
            let mut sequence = Sequence::new(options);
            let mut buffer = vec![0u8; options.block_size as usize];
            let last = buffer.len() - 8;
            let mut measured = Measured::begin();
            for i in 0..options.warm_up + options.count {
                if i == options.warm_up {
                    measured = Measured::begin();
                }
                let offset = sequence.next();
                buffer[..8].copy_from_slice(&offset.to_ne_bytes());
                buffer[last..].copy_from_slice(&offset.to_ne_bytes());
                image.write(&buffer, offset) $($await)* ?;
                measured.n_requests += 1;
            }
            measured.print(options);
            image.flush() $($await)* ?;
            Ok(measured)
        }

        $($async)? fn measure_open(options: &Options) -> io::Result<Measured> {
            let mut buffer = vec![0u8; options.block_size as usize];
            let mut measured = Measured::begin();
            for _ in 0..options.count {
                let image = open(options) $($await)* ?;
                image.read(&mut buffer, image.size() - options.block_size) $($await)* ?;
                measured.add(&buffer);
            }
            Ok(measured)
        }

        $($async)? fn run(options: &Options) -> io::Result<Measured> {
            match options.call.as_str() {
                "read" => measure_read(options) $($await)*,
                "open" => measure_open(options) $($await)*,
                "write" => measure_write(options) $($await)*,
                _ => fail("unknown call"),
            }
        }
    };
}

#[cfg(feature = "sync")]
program!(,);

#[cfg(feature = "async")]
program!(async, .await);

fn main() {
    let options = parse_options();
    #[cfg(feature = "sync")]
    let measured = run(&options);
    #[cfg(feature = "async")]
    let measured = futures::executor::block_on(run(&options));
    match measured {
        Ok(_) if options.call == "write" => (), // has been printed, before the flush
        Ok(measured) => measured.print(&options),
        Err(error) => fail(&error.to_string()),
    }
}
