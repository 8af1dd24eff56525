//! The one test binary of everything that needs the kernel.

mod cases;
mod docker;
mod host_cases;
mod kernel_cases;
mod kernel_edge;
mod netns;
mod rules;
