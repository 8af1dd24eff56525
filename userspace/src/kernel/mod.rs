//! The edge to the kernel: the only folder of user space that knows netlink, aya and namespaces.
//!
//! It says how things are ([`link::Links::observe`], [`datapath::Datapath::rows`], ...) and changes
//! one thing at a time; what should be changed, and in which order, is decided by its callers.
//!
//! Everything here works in the network namespace of the thread that calls it, which is the *host*
//! for bowline; workloads' namespaces are entered on threads of their own ([`netns::Netns::run`]).

pub mod activation;
mod attach;
mod bpf;
pub mod bpffs;
pub mod capability;
pub mod changes;
pub mod clock;
mod clsact;
pub mod datapath;
pub mod doors;
mod driver;
pub mod echo;
pub mod endpoint;
pub mod events;
pub mod indoors;
mod inside;
mod interface;
pub mod link;
mod maps;
pub mod netns;
pub mod object;
mod programs;
mod resize;
pub mod system;
pub mod underlay;
mod xdp;
