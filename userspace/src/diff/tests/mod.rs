//! What is found to be different, and that nothing breaks while it is being changed.

mod holding;
mod order;
mod state;
mod universe;

use std::collections::BTreeMap;

use maps_schema::IfIndex;

use super::*;
use crate::plan::PlannedLink;
use crate::plan::tests::{SHOP, interfaces, plan, plan_without, tables};
