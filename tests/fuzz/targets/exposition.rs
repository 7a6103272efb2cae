#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| watchkeeper::fuzz::exposition(text));
