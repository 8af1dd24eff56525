//! The IPAM driver: pools and addresses.
//!
//! Docker does not tell this driver which network a pool is for. A pool is recognized as a network's of
//! a file by its subnet, or by `--ipam-opt net=`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::protocol::{AddressGiven, Answer, PoolGiven, RequestAddress, RequestPool};
use super::range::{Range, blocks};
use super::records::{Holder, Lease, LeaseKey, Pool, Records, Scope};
use super::world::{Declared, World};
use super::{ADDRESS_SPACE, Refusal, Setting, options};

/// After how many seconds an address that nobody came with is free again: Docker comes with it at once,
/// unless it or we died in between.
pub const UNCLAIMED_SECONDS: u64 = 120;
/// How many addresses of a pool are remembered that somebody had.
const REMEMBERED: usize = 4096;
/// Where subnets come from that nobody named: what private networks use least (RFC 1918, RFC 4193).
const ANY_IPV4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 128, 0, 0), 9);
const ANY_IPV6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd62, 0x6f77, 0x6c69, 0, 0, 0, 0, 0), 48);
/// How long the prefixes of such subnets are.
const ANY_LEN: (u8, u8) = (24, 64);

impl Records {
    /// Gives out a pool. A subnet may be given out twice: to two networks of Docker's that are one in
    /// the topology.
    pub(super) fn request_pool(
        &mut self,
        request: &RequestPool,
        setting: Setting<'_>,
    ) -> Result<Answer, Refusal> {
        if request.address_space != ADDRESS_SPACE {
            return Err(Refusal(format!(
                "address space `{}` is not bowline's",
                request.address_space
            )));
        }
        let world = setting.world;
        let net = options::pool_net(&request.options)?;
        let scope = match (net, given(&request.pool)?) {
            (Some(net), subnet) => of_network(net, subnet, request.v6, world)?,
            (None, Some(subnet)) => self.of_subnet(subnet, world)?,
            (None, None) => Scope {
                net: None,
                subnet: self.any_subnet(request.v6, world)?,
            },
        };
        let range = given(&request.sub_pool)?;
        if let Some(range) = range
            && !scope.subnet.contains(&range)
        {
            return Err(Refusal(format!(
                "the range {range} is not in {}",
                scope.title()
            )));
        }
        let mut pool = Pool {
            scope,
            range,
            named: net.is_some(),
        };
        let former = self.pools.get(&pool.to_string());
        pool.named |= former.is_some_and(|former| former.named);
        let answer = Answer::Pool {
            pool_id: pool.to_string(),
            pool: pool.scope.subnet.to_string(),
            data: Default::default(),
        };
        self.pools.insert(pool.to_string(), pool);
        Ok(answer)
    }

    /// A subnet that somebody named is the network's of a file that has it; otherwise it must be apart
    /// from all others.
    fn of_subnet(&self, subnet: IpNet, world: &World) -> Result<Scope, Refusal> {
        let networks = world.networks.iter();
        let same: Vec<&String> = networks
            .filter(|(_, declared)| declared.subnets.contains(&subnet))
            .map(|(name, _)| name)
            .collect();
        match same.as_slice() {
            [] => {}
            [only] => {
                return Ok(Scope {
                    net: Some((*only).clone()),
                    subnet,
                });
            }
            [one, other, ..] => {
                return Err(Refusal(format!(
                    "subnet {subnet} is that of network {one} and of network {other}: say which by \
                     `--ipam-opt net={one}`"
                )));
            }
        }
        let scope = Scope { net: None, subnet };
        if let Some(owner) = self.overlapping(subnet, world)
            && !self.pools.values().any(|pool| pool.scope == scope)
        {
            return Err(Refusal(format!(
                "subnet {subnet} overlaps {owner}: choose another one"
            )));
        }
        Ok(scope)
    }

    /// Who has a part of a subnet.
    fn overlapping(&self, subnet: IpNet, world: &World) -> Option<String> {
        let declared = world.networks.iter().find_map(|(name, network)| {
            let mut subnets = network.subnets.iter();
            let other = subnets.find(|other| overlap(**other, subnet))?;
            Some(format!(
                "network {name} ({other}) of source {}",
                network.source
            ))
        });
        declared.or_else(|| {
            let mut pools = self.pools.values();
            let pool = pools.find(|pool| overlap(pool.scope.subnet, subnet))?;
            let user = self.networks.iter().find(|(_, network)| {
                let mut subnets = network.subnets.iter();
                subnets.any(|it| it.subnet == pool.scope.subnet)
            });
            Some(match user {
                Some((id, _)) => format!("{} ({})", self.network_title(id), pool.scope.subnet),
                None => format!("subnet {}, which is in use", pool.scope.subnet),
            })
        })
    }

    /// A subnet that nobody has. Docker asks again, holding what it got, until it gets one that suits
    /// it.
    fn any_subnet(&self, v6: bool, world: &World) -> Result<IpNet, Refusal> {
        let (within, len) = if v6 {
            (IpNet::new(ANY_IPV6.0.into(), ANY_IPV6.1), ANY_LEN.1)
        } else {
            (IpNet::new(ANY_IPV4.0.into(), ANY_IPV4.1), ANY_LEN.0)
        };
        let candidates = within.ok().and_then(|within| within.subnets(len).ok());
        let mut candidates = candidates.into_iter().flatten();
        candidates
            .find(|subnet| self.overlapping(*subnet, world).is_none())
            .ok_or_else(|| Refusal("there is no free subnet left: name one by --subnet".to_owned()))
    }

    /// Takes a pool back that no network has. What a network has goes with the network.
    pub(super) fn release_pool(&mut self, given: &PoolGiven) {
        let Some(pool) = self.pools.get(&given.pool) else {
            return;
        };
        let scope = pool.scope.clone();
        if self.is_used(&scope) {
            return;
        }
        self.pools.remove(&given.pool);
        self.forget_scope(&scope);
    }

    /// Forgets the pools that no network has any more.
    pub(super) fn release_pools_of(&mut self, scopes: &[Scope]) {
        for scope in scopes {
            if !self.is_used(scope) {
                self.pools.retain(|_, pool| pool.scope != *scope);
                self.forget_scope(scope);
            }
        }
    }

    /// Forgets the addresses of a subnet that is in no pool.
    pub(super) fn forget_scope(&mut self, scope: &Scope) {
        let is_pool = self.pools.values().any(|pool| pool.scope == *scope);
        if !is_pool && !self.is_attached(scope) {
            self.leases.retain(|(other, _), _| other != scope);
        }
    }

    /// Whether a network has a subnet.
    pub(super) fn is_used(&self, scope: &Scope) -> bool {
        let mut networks = self.networks.values();
        let is_dockers = networks.any(|network| network.scopes().any(|used| used == *scope));
        is_dockers || self.is_attached(scope)
    }

    /// Whether a container that we plug in has an address of a subnet.
    fn is_attached(&self, scope: &Scope) -> bool {
        let mut leases = self.leases.iter();
        leases.any(|((of, _), lease)| of == scope && matches!(lease.holder, Holder::Attached(_)))
    }

    /// Gives out an address.
    pub(super) fn request_address(
        &mut self,
        request: &RequestAddress,
        setting: Setting<'_>,
    ) -> Result<Answer, Refusal> {
        self.collect(setting.now);
        let pool = self.pools.get(&request.pool).cloned().ok_or_else(|| {
            Refusal(format!(
                "there is no pool {}: make the network again by `docker network rm` and `docker \
                 network create`",
                request.pool
            ))
        })?;
        let scope = &pool.scope;
        let wanted = match request.address.as_str() {
            "" => None,
            text => Some(address(text)?),
        };
        if let Some(wanted) = wanted
            && !scope.subnet.contains(&wanted)
        {
            return Err(Refusal(format!("{wanted} is not in {}", scope.title())));
        }
        let container = request.container();
        let (found, holder) = if request.is_for_gateway() {
            let found = self.gateway(&pool, wanted, setting)?;
            (found, Holder::Gateway)
        } else {
            let found = match wanted {
                Some(wanted) => self.free(scope, wanted, setting.world)?,
                None => self.choose(&pool, container, setting.world)?,
            };
            (found, Holder::Unclaimed(setting.now))
        };
        let lease = Lease {
            holder,
            container: container.map(str::to_owned),
        };
        self.leases.insert((scope.clone(), found), lease);
        Ok(Answer::Address {
            address: format!("{found}/{}", scope.subnet.prefix_len()),
            data: Default::default(),
        })
    }

    /// The address of a pool's gateway: every host and every request gets the same.
    fn gateway(
        &self,
        pool: &Pool,
        wanted: Option<IpAddr>,
        setting: Setting<'_>,
    ) -> Result<IpAddr, Refusal> {
        let scope = &pool.scope;
        let declared = declared(scope, setting.world);
        let mut routers = declared.into_iter().flat_map(|it| &it.gateways);
        let former = self.leases.iter().find_map(|((of, ip), lease)| {
            (of == scope && lease.holder == Holder::Gateway).then_some(*ip)
        });
        match wanted {
            Some(wanted) => {
                let is_router = routers.any(|(ip, _)| *ip == wanted);
                if is_router || self.is_gateway(scope, wanted) {
                    return Ok(wanted);
                }
                if let Some(declared) = declared.filter(|it| !it.gateways.is_empty()) {
                    let known = declared.gateways.iter();
                    let known: Vec<String> = known.map(|(ip, it)| format!("{ip} ({it})")).collect();
                    return Err(Refusal(format!(
                        "{wanted} cannot be the gateway of {}: its routers are {}",
                        scope.title(),
                        known.join(", ")
                    )));
                }
                self.free(scope, wanted, setting.world)
            }
            None => {
                let router = routers.find(|(ip, _)| scope.subnet.contains(*ip));
                match router.map(|(ip, _)| *ip).or(former) {
                    Some(found) => Ok(found),
                    None => self.first_free(scope, &[Range::of(scope.subnet)], setting.world),
                }
            }
        }
    }

    /// An address that somebody asked for by name, if it is free.
    pub(super) fn free(
        &self,
        scope: &Scope,
        wanted: IpAddr,
        world: &World,
    ) -> Result<IpAddr, Refusal> {
        if !Range::of(scope.subnet).contains(wanted) {
            return Err(Refusal(format!(
                "no station can have {wanted} in {}",
                scope.title()
            )));
        }
        let declared = declared(scope, world).and_then(|it| it.holder(wanted));
        let holder = declared.or_else(|| self.holder(scope, wanted));
        match holder {
            Some(holder) => Err(Refusal(format!(
                "address {wanted} of {} is taken: {holder} has it",
                scope.title()
            ))),
            None => Ok(wanted),
        }
    }

    /// Who has an address by our own records. One that was given out and that nobody came with is
    /// given out again: the answer may have got lost.
    pub(super) fn holder(&self, scope: &Scope, wanted: IpAddr) -> Option<String> {
        match &self.leases.get(&(scope.clone(), wanted))?.holder {
            Holder::Gateway => Some("the gateway".to_owned()),
            Holder::Auxiliary => Some("an auxiliary address (--aux-address)".to_owned()),
            Holder::Endpoint(id) => Some(self.endpoint_title(id)),
            Holder::Attached(id) => Some(self.attachment_title(id)),
            Holder::Unclaimed(_) | Holder::Released(_) => None,
        }
    }

    fn is_gateway(&self, scope: &Scope, wanted: IpAddr) -> bool {
        let lease = self.leases.get(&(scope.clone(), wanted));
        lease.is_some_and(|lease| lease.holder == Holder::Gateway)
    }

    /// Any address: the one that the container had, else one that nobody had, else the one that has
    /// been free for the longest time, so that whoever remembers its last holder has had time to forget.
    pub(super) fn choose(
        &self,
        pool: &Pool,
        container: Option<&str>,
        world: &World,
    ) -> Result<IpAddr, Refusal> {
        let scope = &pool.scope;
        let ranges = ranges(pool, world)?;
        if let Some(container) = container {
            let mut leases = self.leases.iter();
            let former = leases.find(|((of, _), lease)| {
                of == scope && !lease.is_held() && lease.container.as_deref() == Some(container)
            });
            let former = former.map(|((_, ip), _)| *ip);
            if let Some(found) = former.filter(|ip| self.free(scope, *ip, world).is_ok()) {
                return Ok(found);
            }
        }
        self.first_free(scope, &ranges, world)
            .or_else(|exhausted| self.longest_free(scope, &ranges, world).ok_or(exhausted))
    }

    /// The first address that nobody has or had.
    fn first_free(
        &self,
        scope: &Scope,
        ranges: &[Range],
        world: &World,
    ) -> Result<IpAddr, Refusal> {
        let declared = declared(scope, world);
        let known: BTreeSet<IpAddr> = self
            .leases
            .keys()
            .filter(|(of, _)| of == scope)
            .map(|(_, ip)| *ip)
            .chain(
                declared
                    .into_iter()
                    .flat_map(|it| it.gateways.keys().chain(it.addresses.keys()).copied()),
            )
            .collect();
        let mut addresses = ranges.iter().flat_map(|range| range.addresses());
        addresses
            .find(|address| !known.contains(address))
            .ok_or_else(|| self.exhausted(scope, ranges, declared))
    }

    fn longest_free(&self, scope: &Scope, ranges: &[Range], world: &World) -> Option<IpAddr> {
        let free = self.leases.iter().filter_map(|((of, ip), lease)| {
            let Holder::Released(at) = lease.holder else {
                return None;
            };
            let fits = of == scope && ranges.iter().any(|range| range.contains(*ip));
            (fits && self.free(scope, *ip, world).is_ok()).then_some((at, *ip))
        });
        free.min().map(|(_, ip)| ip)
    }

    /// Who has all of the addresses.
    fn exhausted(&self, scope: &Scope, ranges: &[Range], declared: Option<&Declared>) -> Refusal {
        let total: u128 = ranges.iter().map(|range| range.count()).sum();
        let is_here = |ip: &IpAddr| ranges.iter().any(|range| range.contains(*ip));
        let held = self.leases.iter();
        let held = held.filter(|((of, ip), lease)| of == scope && is_here(ip) && lease.is_held());
        let containers = held
            .filter(|(_, lease)| !matches!(lease.holder, Holder::Gateway | Holder::Auxiliary))
            .count();
        let by_files = declared.into_iter();
        let by_files = by_files.flat_map(|it| it.gateways.keys().chain(it.addresses.keys()));
        let by_files = by_files.filter(|ip| is_here(ip)).count();
        let reserved = if by_files > 0 {
            format!(", {by_files} are declared in files")
        } else {
            String::new()
        };
        Refusal(format!(
            "{} has no free address left: of the {total} that this host may give, {containers} are \
             held by containers{reserved}",
            scope.title()
        ))
    }

    /// Takes an address back, unless somebody has it still: a request that was refused is followed by
    /// its release, which must not hit the one who was in its way.
    pub(super) fn release_address(&mut self, given: &AddressGiven, setting: Setting<'_>) {
        let Some(pool) = self.pools.get(&given.pool) else {
            return;
        };
        let Ok(ip) = given.address.parse() else {
            return;
        };
        let key = (pool.scope.clone(), ip);
        let Some(lease) = self.leases.get_mut(&key) else {
            return;
        };
        match lease.holder {
            Holder::Endpoint(_) | Holder::Attached(_) | Holder::Auxiliary | Holder::Released(_) => {
                return;
            }
            Holder::Gateway => {
                // The network that it is of takes it with it.
                let mut networks = self.networks.values();
                let is_used = networks.any(|network| {
                    let mut subnets = network.subnets.iter();
                    subnets
                        .any(|it| it.gateway == Some(ip) && network.scope(it.subnet) == pool.scope)
                });
                if !is_used {
                    self.leases.remove(&key);
                }
                return;
            }
            Holder::Unclaimed(_) => {}
        }
        lease.holder = Holder::Released(setting.now);
        self.forget_oldest(&key.0);
    }

    /// Frees the addresses that nobody came with. Of pools that no network of ours has we do not know
    /// who comes with what.
    pub fn collect(&mut self, now: u64) {
        let scopes: BTreeSet<Scope> = self.networks.values().flat_map(|it| it.scopes()).collect();
        for ((scope, _), lease) in &mut self.leases {
            if let Holder::Unclaimed(since) = lease.holder
                && now.saturating_sub(since) >= UNCLAIMED_SECONDS
                && scopes.contains(scope)
            {
                lease.holder = Holder::Released(now);
            }
        }
    }

    /// Keeps what is remembered small.
    fn forget_oldest(&mut self, scope: &Scope) {
        let released = self.leases.iter().filter_map(|(key, lease)| {
            let Holder::Released(at) = lease.holder else {
                return None;
            };
            (key.0 == *scope).then(|| (at, key.clone()))
        });
        let mut released: Vec<(u64, LeaseKey)> = released.collect();
        if released.len() > REMEMBERED {
            released.sort();
            released.truncate(released.len() - REMEMBERED);
            for (_, key) in released {
                self.leases.remove(&key);
            }
        }
    }
}

/// Where a pool's addresses are taken from: the range that somebody named, or what this host may give
/// of a subnet that others give from, too.
fn ranges(pool: &Pool, world: &World) -> Result<Vec<Range>, Refusal> {
    let subnet = pool.scope.subnet;
    let stations = Range::of(subnet);
    if let Some(range) = pool.range {
        // The ends of a part are addresses like others.
        return Ok(Range::whole(range).and(stations).into_iter().collect());
    }
    if pool.scope.net.is_none() || world.hosts.len() < 2 {
        return Ok(vec![stations]);
    }
    let own = world.own.as_deref().ok_or_else(|| {
        Refusal(format!(
            "it is not known which of the hosts this one is, and so which addresses of {} it may give: \
             `bowline load FILE --host NAME` says it",
            pool.scope.title()
        ))
    })?;
    Ok(blocks(subnet, &world.hosts, own))
}

fn declared<'w>(scope: &Scope, world: &'w World) -> Option<&'w Declared> {
    world.networks.get(scope.net.as_deref()?)
}

/// The pool of a network that somebody named.
fn of_network(net: &str, subnet: Option<IpNet>, v6: bool, world: &World) -> Result<Scope, Refusal> {
    let declared = world.network(net)?;
    let mut of_family = declared
        .subnets
        .iter()
        .filter(|subnet| subnet.addr().is_ipv6() == v6);
    let found = match subnet {
        Some(wanted) => of_family.find(|subnet| **subnet == wanted),
        None => of_family.next(),
    };
    let Some(&subnet) = found else {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let all: Vec<String> = declared.subnets.iter().map(ToString::to_string).collect();
        let wanted = subnet.map_or_else(
            || format!("no {family} subnet"),
            |wanted| format!("not the subnet {wanted}"),
        );
        return Err(Refusal(format!(
            "network {net} of source {} has {wanted}: it has {}",
            declared.source,
            all.join(", ")
        )));
    };
    Ok(Scope {
        net: Some(net.to_owned()),
        subnet,
    })
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// A subnet that may be left out.
fn given(text: &str) -> Result<Option<IpNet>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let subnet: IpNet = text
        .parse()
        .map_err(|_| Refusal(format!("`{text}` is no subnet")))?;
    Ok(Some(subnet.trunc()))
}

/// An address.
pub(super) fn address(text: &str) -> Result<IpAddr, Refusal> {
    text.parse()
        .map_err(|_| Refusal(format!("`{text}` is no address")))
}
