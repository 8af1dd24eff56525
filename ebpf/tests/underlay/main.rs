//! Frames to and from other hosts: two hosts that are each other's peers.

mod admission;
mod arrival;
mod lengths;
mod mutation;
mod pair;
mod passing;
