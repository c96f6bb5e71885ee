//! Interrupts that a CPU has had, as the kernel counts them.
//!
//! Promises: a look is a system call, to be taken between two windows. Does not know: how long an interrupt took; where
//! the kernel does not tell, there seem to be none.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The kernel's count for one CPU.
pub(crate) struct Interrupts {
    file: Option<File>,
    /// The column, as the file's first line names it.
    cpu: String,
    text: Vec<u8>,
}

impl Interrupts {
    /// Of a CPU.
    pub(crate) fn of(cpu: usize) -> Self {
        Self {
            file: File::open("/proc/interrupts").ok(),
            cpu: format!("CPU{cpu}"),
            text: vec![0; 1 << 16],
        }
    }

    /// How many there were so far.
    pub(crate) fn count(&mut self) -> u64 {
        let Some(file) = &self.file else { return 0 };
        let mut n_bytes = 0;
        while let Ok(n_read @ 1..) = file.read_at(&mut self.text[n_bytes..], n_bytes as u64) {
            n_bytes += n_read;
        }
        sum_of(&self.cpu, &String::from_utf8_lossy(&self.text[..n_bytes]))
    }
}

/// The sum of a CPU's column.
fn sum_of(cpu: &str, text: &str) -> u64 {
    let mut lines = text.lines();
    let titles = lines.next().unwrap_or_default();
    let Some(column) = titles.split_whitespace().position(|title| title == cpu) else {
        return 0;
    };
    lines
        .filter_map(|line| line.split_whitespace().nth(column + 1)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_has_its_column() {
        let text = "           CPU0       CPU2\n 24:   1   20  IO-APIC   5-edge  x\nLOC:   3   40  Local\nERR:  7\n";
        assert_eq!((sum_of("CPU0", text), sum_of("CPU2", text)), (11, 60));
        assert_eq!(sum_of("CPU1", text), 0);
    }
}
