//! What EAL cannot have, it says in one sentence; what is found out beforehand leaves the process able to try again.

use weir_dpdk::{Eal, EalConfig, EalMemory, Error};

#[test]
fn refusals_are_sentences() {
    let asked_mib = u32::MAX;
    let error = Eal::init(&EalConfig::new(EalMemory::Hugepages { mib: asked_mib }))
        .expect_err("nobody has 4 PiB");
    assert!(
        error
            .to_string()
            .starts_with("4294967295 MiB of hugepages are asked for but "),
        "{error}"
    );
    assert!(matches!(error, Error::TooFewHugepages { .. }));

    let config = EalConfig {
        main_cpu: 100_000,
        ..EalConfig::new(EalMemory::Anonymous { mib: 64 })
    };
    let error = Eal::init(&config)
        .expect_err("there is no such CPU")
        .to_string();
    assert!(error.starts_with("DPDK does not start: "), "{error}");
    assert_eq!(
        error.lines().count(),
        1,
        "one sentence, not EAL's whole log or its usage: {error}"
    );
    assert!(
        !error.contains("Success"),
        "the reason is a reason: {error}"
    );

    let config = EalConfig::new(EalMemory::Anonymous { mib: 64 });
    assert_eq!(
        Eal::init(&config).expect_err("EAL cannot begin again"),
        Error::AlreadyInitialised
    );
}
