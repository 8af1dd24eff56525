//! What people call the things that only Docker has given an id: the topology names them by these ids, as
//! the rows of the kernel follow from names, and Docker's names change.

use std::collections::BTreeMap;

use super::records::records;
use crate::driver::records::{Records, object_name};
use crate::instance::Instance;

/// Docker's names of containers and networks, by the names that they have in the topology.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Titles(BTreeMap<String, String>);

impl Titles {
    /// Those of an instance, as far as they are known.
    pub(super) fn of(instance: &Instance) -> Self {
        // What is printed is true without them.
        Self::in_records(&records(instance).unwrap_or_default())
    }

    fn in_records(records: &Records) -> Self {
        let networks = records.networks.iter();
        let mut titles: BTreeMap<String, String> = networks
            .filter_map(|(id, network)| Some((object_name(id), network.label.clone()?)))
            .collect();
        let mut plugs: BTreeMap<&str, usize> = BTreeMap::new();
        for label in records
            .endpoints
            .values()
            .filter_map(|it| it.label.as_deref())
        {
            *plugs.entry(label).or_default() += 1;
        }
        for (id, endpoint) in &records.endpoints {
            let Some(label) = &endpoint.label else {
                continue;
            };
            let network = records.networks.get(&endpoint.network);
            let network = network.and_then(|it| it.label.as_ref().or(it.net.as_ref()));
            // One port of several of the same container.
            let title = match network.filter(|_| plugs.get(label.as_str()) > Some(&1)) {
                Some(network) => format!("{label}@{network}"),
                None => label.clone(),
            };
            titles.insert(object_name(id), title);
        }
        for (id, attachment) in &records.attachments {
            titles.insert(object_name(id), attachment.container.clone());
        }
        Self(titles)
    }

    /// A text with the names that people know.
    pub(super) fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (object, title) in &self.0 {
            if text.contains(object.as_str()) {
                text = text.replace(object.as_str(), title);
            }
        }
        text
    }

    /// What is called so in the topology, the part before a slash included; the text itself if nobody
    /// knows.
    pub(super) fn object(&self, text: &str) -> String {
        let (name, rest) = match text.split_once('/') {
            Some((name, rest)) => (name, format!("/{rest}")),
            None => (text, String::new()),
        };
        let mut titles = self.0.iter();
        let found = titles.find(|(_, title)| *title == name);
        found.map_or_else(|| text.to_owned(), |(object, _)| format!("{object}{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_names_and_names_ids() {
        let titles = Titles(BTreeMap::from([
            ("docker-0123456789ab".to_owned(), "web".to_owned()),
            ("docker-ba9876543210".to_owned(), "db@front".to_owned()),
        ]));
        assert_eq!(
            titles.translate("docker-0123456789ab/eth0 -> docker-ba9876543210/eth0"),
            "web/eth0 -> db@front/eth0"
        );
        assert_eq!(titles.object("web/eth0"), "docker-0123456789ab/eth0");
        assert_eq!(titles.object("db@front"), "docker-ba9876543210");
        assert_eq!(titles.object("core/front"), "core/front");
    }
}
