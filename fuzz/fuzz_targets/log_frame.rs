//! The payload of one frame of the write-ahead log. In: any bytes. Out: nothing, or a panic where
//! a promise of `fathomline_collector::fuzz` breaks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fathomline_collector::fuzz::log_frame(bytes));
