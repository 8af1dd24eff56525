//! The one test binary of everything that needs the kernel.

mod kernel_edge;
