//! Finds libdpdk, makes its Rust declarations, compiles the shim.
//!
//! Promises: what cannot be built is refused in one sentence that names what to install. Versions older than 22.11 are
//! refused by their number. Where 22.11 and 24.11 differ (the fields of `rte_mbuf` and `rte_eth_link`), the headers
//! themselves decide, through offsets and the shim, so nothing here is tried out and nothing else depends on a version.
//! Does not know: which driver serves which device; with shared libraries EAL loads its folder of drivers itself, with
//! the feature `static` those of [`STATIC_DRIVERS`] are inside.
//!
//! How linking works: libraries (`rustc-link-lib`) reach every binary that depends on this crate by themselves, link
//! *arguments* do not. Those are handed on as `DEP_DPDK_LINK_ARGUMENTS`, one per line, to the build scripts of
//! `weir-dpdk` (for its tests) and of the root package (for the binary).

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, exit};

const OLDEST: Version = Version {
    year: 22,
    month: 11,
};

fn main() {
    if let Err(sentence) = build() {
        eprintln!("{sentence}");
        println!("cargo::error={sentence}");
        exit(1);
    }
}

fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");

    let version = Version::parse(&pkg_config("--modversion")?)?;
    if version < OLDEST {
        return Err(format!(
            "libdpdk {version} is older than {OLDEST}, the oldest that weir builds with; install Debian 12's \
             libdpdk-dev or a newer one and let PKG_CONFIG_PATH lead to it"
        ));
    }
    // The `pkg-config` program is called because the crate of that name drops `-march` and `-include rte_config.h`,
    // without which the headers do not compile.
    let compiler_flags = words(&pkg_config("--cflags")?);
    compile_shim(&compiler_flags);
    write_declarations(&compiler_flags)?;
    match env::var_os("CARGO_FEATURE_STATIC") {
        None => link_shared(),
        Some(_) => link_static(),
    }
}

/// `YY.MM`, as DPDK numbers its releases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    year: u32,
    month: u32,
}

impl Version {
    fn parse(text: &str) -> Result<Self, String> {
        let mut numbers = text.trim().split(['.', '-']).map(|part| part.parse().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(year), Some(month)) => Ok(Self { year, month }),
            _ => Err(format!(
                "pkg-config says that libdpdk's version is `{}`, which is none; look at its libdpdk.pc",
                text.trim()
            )),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.year, self.month)
    }
}

fn pkg_config(question: &str) -> Result<String, String> {
    const MISSING: &str = "apt-get install libdpdk-dev libclang-14-dev clang-14 pkg-config";
    let output = Command::new("pkg-config").args([question, "libdpdk"]).output().map_err(|reason| {
        format!("the program pkg-config cannot be run ({reason}); install what weir builds with: {MISSING}")
    })?;
    if !output.status.success() {
        return Err(format!(
            "pkg-config does not find libdpdk; install what weir builds with: {MISSING}"
        ));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| "pkg-config answers about libdpdk in no UTF-8".to_owned())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn compile_shim(compiler_flags: &[String]) {
    let mut compiler = cc::Build::new();
    compiler
        .file("c/shim.c")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true);
    // DPDK's own headers are not clean under -Wextra; as system headers they are not asked to be.
    for flag in compiler_flags {
        match flag.strip_prefix("-I") {
            Some(folder) => compiler.flag("-isystem").flag(folder),
            None => compiler.flag(flag),
        };
    }
    compiler.compile("weir_dpdk_shim");
}

fn write_declarations(compiler_flags: &[String]) -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; build with cargo")?);
    bindgen::Builder::default()
        .header("c/wrapper.h")
        .clang_args(compiler_flags)
        .allowlist_function("(rte_eal|rte_dev|rte_eth|rte_mempool|rte_pktmbuf|rte_thread|rte_log|rte_socket)_.*")
        .allowlist_function("rte_(strerror|version|openlog_stream)")
        .allowlist_function("shim_.*")
        .allowlist_var("rte_eth_fp_ops")
        .allowlist_var("(WEIR|MBUF|RTE_ETH|RTE_PKTMBUF|RTE_LOG|RTE_MAX|RTE_MEMPOOL)_.*")
        .allowlist_type("rte_(mbuf|mempool|eth_.*)")
        // Packed types around aligned ones: Rust refuses to compile them, and nobody here needs their fields.
        .opaque_type("rte_arp_hdr|rte_arp_ipv4|rte_l2tpv2_.*|rte_gtp_psc_.*")
        // Read and written through the offsets of wrapper.h, never by field.
        .opaque_type("rte_mbuf")
        // Thread-local in C; bindgen would declare them as ordinary variables. See shim_rte_errno.
        .blocklist_item("per_lcore_.*")
        .prepend_enum_name(false)
        .generate_comments(false)
        .merge_extern_blocks(true)
        .layout_tests(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .wrap_unsafe_ops(true)
        .parse_callbacks(Box::new(OwnNames))
        .generate()
        .map_err(|reason| format!("bindgen cannot read DPDK's headers ({reason}); apt-get install libclang-14-dev clang-14"))?
        .write_to_file(out.join("declarations.rs"))
        .map_err(|reason| format!("the declarations cannot be written to {}: {reason}", out.display()))
}

/// Takes the prefix off the constants that `wrapper.h` exports anew.
#[derive(Debug)]
struct OwnNames;

impl bindgen::callbacks::ParseCallbacks for OwnNames {
    fn item_name(&self, item: bindgen::callbacks::ItemInfo<'_>) -> Option<String> {
        item.name.strip_prefix("WEIR_").map(str::to_owned)
    }
}

/// Shared libraries, the default: quick to link, and EAL finds every driver that is installed.
fn link_shared() -> Result<(), String> {
    let folders = library_folders()?;
    for folder in &folders {
        println!("cargo::rustc-link-search=native={}", folder.display());
    }
    // Beside the EAL's own two dozen there are as many that nothing here calls. rustc links with --as-needed, so
    // naming them all costs nothing and depends on no list of ours.
    for library in libraries()? {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    // A libdpdk outside the system's folders is found again when the binary runs. RPATH and not the newer RUNPATH,
    // which libraries do not use to find the libraries that they need themselves.
    let mut arguments: Vec<String> = folders
        .iter()
        .map(|folder| format!("-Wl,-rpath,{}", folder.display()))
        .collect();
    if !arguments.is_empty() {
        arguments.push("-Wl,--disable-new-dtags".to_owned());
    }
    println!("cargo::metadata=LINK_ARGUMENTS={}", arguments.join(" "));
    Ok(())
}

/// What is inside a binary that is linked statically: buses, the pool's ring, and drivers. They register themselves
/// when the process starts, so nothing refers to them and they are taken whole.
///
/// Left out on purpose: `net_pcap`, whose library wants D-Bus and systemd, and the Mellanox drivers, which load
/// rdma-core's libraries when they run. An operator who needs them runs the binary that is linked with shared libraries.
const STATIC_DRIVERS: &[&str] = &[
    "bus_pci",
    "bus_vdev",
    "mempool_ring",
    "common_iavf",
    "net_af_packet",
    "net_af_xdp",
    "net_bnxt",
    "net_e1000",
    "net_ena",
    "net_gve",
    "net_i40e",
    "net_iavf",
    "net_ice",
    "net_igc",
    "net_ixgbe",
    "net_memif",
    "net_null",
    "net_ring",
    "net_tap",
    "net_virtio",
    "net_vmxnet3",
];

/// What EAL and those drivers take of the system, in the order in which they need each other.
const STATIC_SYSTEM_LIBRARIES: &[&str] = &["xdp", "bpf", "elf", "z", "numa", "bsd", "md"];

/// Everything but the C library inside: one file to copy onto a director.
///
/// `pkg-config --static` would answer with every driver that the distribution has, and with what all of them need.
fn link_static() -> Result<(), String> {
    let mut folders = library_folders()?;
    folders.push(PathBuf::from(pkg_config("--variable=libdir")?.trim()));
    for folder in &folders {
        println!("cargo::rustc-link-search=native={}", folder.display());
    }
    // `-bundle`: the linker takes them for the binary, instead of rustc copying them into this crate.
    for driver in STATIC_DRIVERS {
        let file = format!("librte_{driver}.a");
        if !folders.iter().any(|folder| folder.join(&file).is_file()) {
            return Err(format!(
                "{file} is not in the folders of libdpdk; static linking takes its static libraries, which Debian's \
                 libdpdk-dev has"
            ));
        }
        println!("cargo::rustc-link-lib=static:+whole-archive,-bundle=rte_{driver}");
    }
    for library in libraries()?.iter().filter(|name| name.starts_with("rte_")) {
        println!("cargo::rustc-link-lib=static:-bundle={library}");
    }
    for library in STATIC_SYSTEM_LIBRARIES {
        println!("cargo::rustc-link-lib=static:-bundle={library}");
    }
    println!("cargo::metadata=LINK_ARGUMENTS=");
    Ok(())
}

/// Where libdpdk's libraries lie, if not where the linker looks anyway.
fn library_folders() -> Result<Vec<PathBuf>, String> {
    let flags = words(&pkg_config("--libs-only-L")?);
    let folders = flags.iter().filter_map(|flag| flag.strip_prefix("-L"));
    Ok(folders.map(PathBuf::from).collect())
}

/// The libraries that make up libdpdk, drivers apart, each before those that it needs.
fn libraries() -> Result<Vec<String>, String> {
    let flags = words(&pkg_config("--libs-only-l")?);
    let libraries = flags.iter().filter_map(|flag| flag.strip_prefix("-l"));
    Ok(libraries.map(str::to_owned).collect())
}
