//! A body of OTLP metrics in JSON, as it is after inflation. In: any bytes. Out: nothing, or a
//! panic where a promise of `fathomline_collector::fuzz` breaks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fathomline_collector::fuzz::otlp_json(bytes));
