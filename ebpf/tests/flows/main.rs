//! Flows: what is remembered about packets that look alike changes nothing but the cost, and what is
//! known of their connections is true.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../router/line.rs"]
mod line;

mod differential;
mod edge;
mod journey;
mod life;
mod mutation;
mod nat;
mod packet;
mod random;
mod site;
