//! The virtual router, as a sender and a receiver notice it. Frames are built and judged by an
//! independent library.

mod complaint;
mod forwarding;
mod line;
mod neighbor;
