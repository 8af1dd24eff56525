//! What the tests, the fuzz targets and the benchmarks of the whole share: case files, and the lab in
//! which namespaces are hosts and workloads.

pub mod case;
pub mod cast;
pub mod checksum;
pub mod frame;
pub mod lab;
pub mod number;
pub mod program;
