//! Messages of clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    runner_kit_fuzz::messages(data);
});
