//! The programs: the datapath library wrapped around the kernel's contexts and maps.
//!
//! This file alone knows the action codes of TC and XDP. It builds for BPF only; on the host, where nothing
//! runs it, an empty `main` keeps the workspace's builds and lints whole.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod kernel;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};
    use datapath::{Action, Progress, Scratch};
    use maps_schema::IfIndex;

    use crate::kernel::event::{self, Arrival as _};
    use crate::kernel::{self, Buffer, Maps, Skb};

    /// Frames from a workload: attached at ingress of the host's end of its veth pair
    /// (TCX since Linux 6.6, clsact before).
    #[classifier]
    pub(crate) fn port_ingress(ctx: TcContext) -> i32 {
        let mut skb = Skb::new(&ctx);
        let interface = skb.interface();
        let Some(scratch) = kernel::scratch() else {
            return TC_ACT_SHOT;
        };
        let entered = enter_port(&mut skb, scratch, interface);
        go_on(&mut skb, scratch, entered)
    }

    /// Frames from the underlay: attached at ingress of the uplink, as above.
    #[classifier]
    pub(crate) fn uplink_ingress(ctx: TcContext) -> i32 {
        let mut skb = Skb::new(&ctx);
        let interface = skb.interface();
        let Some(scratch) = kernel::scratch() else {
            return TC_ACT_UNSPEC;
        };
        let entered = match enter_uplink(&mut skb, scratch, interface) {
            BARE => enter_bare(&mut skb, scratch, interface),
            code => code,
        };
        go_on(&mut skb, scratch, entered)
    }

    /// Frames from the underlay before the kernel makes socket buffers of them: attached to the uplink.
    /// Where it is not attached, the program above does all of it alone.
    ///
    /// It does not declare that it knows frames in several buffers. On Linux 6.18, in generic mode, the
    /// program behind it did not recognize tunnels any more when it did: all of their frames passed on to
    /// the host.
    #[xdp]
    pub(crate) fn uplink_xdp(ctx: XdpContext) -> u32 {
        let buffer = Buffer::new(&ctx);
        let Some(scratch) = kernel::scratch() else {
            return xdp_action::XDP_PASS;
        };
        match datapath::uplink_xdp(&buffer, &Maps, scratch, buffer.interface()) {
            Ok(()) => xdp_action::XDP_PASS,
            Err(refusal) => {
                event::report(&buffer, refusal.port, refusal.reason);
                xdp_action::XDP_DROP
            }
        }
    }

    // The parts of a journey are functions of their own: each has the stack to itself, and the verifier
    // forgets what it knew of one before it follows the next.

    // What they return is a number, because LLVM leaves parts of an enum undefined.

    /// No action codes of TC: the parts of the journey that are still to come begin with this one.
    const BARE: i32 = i32::MAX - 4;
    /// As above.
    const ROUTE: i32 = i32::MAX;
    /// As above.
    const PASS: i32 = i32::MAX - 1;
    /// As above.
    const PREPARE: i32 = i32::MAX - 2;
    /// As above.
    const DEPART: i32 = i32::MAX - 3;

    /// The parts of a journey after the first.
    #[inline(always)]
    fn go_on(skb: &mut Skb, scratch: &mut Scratch, entered: i32) -> i32 {
        let routed = match entered {
            ROUTE => route(skb, scratch),
            code => code,
        };
        let passed = match routed {
            PASS => pass(skb, scratch),
            code => code,
        };
        let prepared = match passed {
            PREPARE => prepare(skb, scratch),
            code => code,
        };
        match prepared {
            DEPART => depart(skb, scratch),
            code => code,
        }
    }

    #[inline(never)]
    fn enter_port(skb: &mut Skb, scratch: &mut Scratch, interface: IfIndex) -> i32 {
        let progress = datapath::port_ingress(skb, &Maps, scratch, interface);
        proceed(skb, progress)
    }

    #[inline(never)]
    fn enter_uplink(skb: &mut Skb, scratch: &mut Scratch, interface: IfIndex) -> i32 {
        let progress = datapath::uplink_ingress(skb, &Maps, scratch, interface);
        proceed(skb, progress)
    }

    #[inline(never)]
    fn enter_bare(skb: &mut Skb, scratch: &mut Scratch, interface: IfIndex) -> i32 {
        let progress = datapath::bare(skb, &Maps, scratch, interface);
        proceed(skb, progress)
    }

    #[inline(always)]
    fn proceed(skb: &Skb, progress: Progress) -> i32 {
        match progress {
            Progress::Bare => BARE,
            Progress::Route => ROUTE,
            Progress::Pass => PASS,
            Progress::Prepare => PREPARE,
            Progress::Depart => DEPART,
            Progress::Done(action) => carry_out(skb, action),
        }
    }

    #[inline(never)]
    fn route(skb: &mut Skb, scratch: &mut Scratch) -> i32 {
        let progress = datapath::route(skb, &Maps, scratch);
        proceed(skb, progress)
    }

    #[inline(never)]
    fn pass(skb: &mut Skb, scratch: &mut Scratch) -> i32 {
        let progress = datapath::pass(skb, &Maps, scratch);
        proceed(skb, progress)
    }

    #[inline(never)]
    fn prepare(skb: &mut Skb, scratch: &mut Scratch) -> i32 {
        let progress = datapath::prepare(skb, &Maps, scratch);
        proceed(skb, progress)
    }

    #[inline(never)]
    fn depart(skb: &mut Skb, scratch: &mut Scratch) -> i32 {
        let action = datapath::depart(skb, &Maps, scratch);
        carry_out(skb, action)
    }

    /// A frame that the kernel cannot redirect after all is dropped and counted by it.
    #[inline(always)]
    fn carry_out(skb: &Skb, action: Action) -> i32 {
        match action {
            Action::Deliver(IfIndex(ifindex)) => {
                let _always = if skb.is_understood() {
                    skb.redirect_peer(ifindex)
                } else {
                    skb.redirect(ifindex)
                };
                TC_ACT_REDIRECT
            }
            Action::Underlay { uplink, next_hop } => {
                let _always = skb.redirect_neigh(uplink.0, next_hop);
                TC_ACT_REDIRECT
            }
            Action::Send(IfIndex(ifindex)) => {
                let _always = skb.redirect(ifindex);
                TC_ACT_REDIRECT
            }
            // Programs behind this one, and the host, may see it.
            Action::Pass => TC_ACT_UNSPEC,
            Action::Copied => TC_ACT_SHOT,
            // It was used up. TC has a code for that too, but TCX (`tcx_action_code`) takes every code
            // besides pass, drop and redirect for "go on".
            Action::Consume(_router_port) => TC_ACT_SHOT,
            Action::Drop { port, reason } => {
                event::report(skb, port, reason);
                TC_ACT_SHOT
            }
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
