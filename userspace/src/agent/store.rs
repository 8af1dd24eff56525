//! Where the driver's records are kept: everything that Docker was answered is on the disk before.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::driver::records::{Lease, LeaseKey, Records};

/// Keeps records.
pub trait Store: Debug + Send {
    /// What is kept.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn read(&self) -> Result<Records>;

    /// Keeps `to` instead of `from`, which is what is kept: all of the difference or, if the machine
    /// stops in between, nothing of it.
    ///
    /// # Errors
    ///
    /// It cannot be written; `from` is kept.
    fn write(&self, from: &Records, to: &Records) -> Result<()>;
}

/// One table for each kind of record: JSON by key.
const NETWORKS: Table = TableDefinition::new("networks");
const ENDPOINTS: Table = TableDefinition::new("endpoints");
const ATTACHMENTS: Table = TableDefinition::new("attachments");
const DETACHED: Table = TableDefinition::new("detached");
const POOLS: Table = TableDefinition::new("pools");
const LEASES: Table = TableDefinition::new("leases");

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// A file of this host's.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    database: Database,
}

impl LocalStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// Another process has it open, or it is no such file.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Database> {
            let database = Database::create(path)?;
            let transaction = database.begin_write()?;
            for table in [NETWORKS, ENDPOINTS, ATTACHMENTS, DETACHED, POOLS, LEASES] {
                transaction.open_table(table)?;
            }
            transaction.commit()?;
            Ok(database)
        };
        Ok(Self {
            database: open().with_context(|| format!("open {}", path.display()))?,
            path: path.to_owned(),
        })
    }

    /// Removes the file.
    ///
    /// # Errors
    ///
    /// The file system refuses.
    pub fn remove(self) -> Result<()> {
        drop(self.database);
        fs::remove_file(&self.path).with_context(|| format!("remove {}", self.path.display()))
    }
}

/// A lease knows its key, because the key as text is only good for finding it.
type KeptLease = (LeaseKey, Lease);

impl Store for LocalStore {
    fn read(&self) -> Result<Records> {
        let read = || -> Result<Records> {
            let transaction = self.database.begin_read()?;
            let leases: BTreeMap<String, KeptLease> = rows(&transaction, LEASES)?;
            Ok(Records {
                networks: rows(&transaction, NETWORKS)?,
                endpoints: rows(&transaction, ENDPOINTS)?,
                attachments: rows(&transaction, ATTACHMENTS)?,
                detached: rows(&transaction, DETACHED)?,
                pools: rows(&transaction, POOLS)?,
                leases: leases.into_values().collect(),
            })
        };
        read().with_context(|| format!("read {}", self.path.display()))
    }

    fn write(&self, from: &Records, to: &Records) -> Result<()> {
        let write = || -> Result<()> {
            let transaction = self.database.begin_write()?;
            let leases = |records: &Records| -> BTreeMap<String, KeptLease> {
                let leases = records.leases.iter();
                leases
                    .map(|(key, lease)| (lease_text(key), (key.clone(), lease.clone())))
                    .collect()
            };
            change(&transaction, NETWORKS, &from.networks, &to.networks)?;
            change(&transaction, ENDPOINTS, &from.endpoints, &to.endpoints)?;
            change(
                &transaction,
                ATTACHMENTS,
                &from.attachments,
                &to.attachments,
            )?;
            change(&transaction, DETACHED, &from.detached, &to.detached)?;
            change(&transaction, POOLS, &from.pools, &to.pools)?;
            if from.leases != to.leases {
                change(&transaction, LEASES, &leases(from), &leases(to))?;
            }
            // The disk has it when this returns.
            transaction.commit()?;
            Ok(())
        };
        write().with_context(|| format!("write {}", self.path.display()))
    }
}

fn lease_text((scope, ip): &LeaseKey) -> String {
    let net = scope.net.as_deref().unwrap_or_default();
    format!("{net} {} {ip}", scope.subnet)
}

fn rows<T: DeserializeOwned>(
    transaction: &redb::ReadTransaction,
    table: Table,
) -> Result<BTreeMap<String, T>> {
    let table = transaction.open_table(table)?;
    let mut rows = BTreeMap::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.insert(
            key.value().to_owned(),
            serde_json::from_slice(value.value())?,
        );
    }
    Ok(rows)
}

fn change<T: Serialize>(
    transaction: &redb::WriteTransaction,
    table: Table,
    from: &BTreeMap<String, T>,
    to: &BTreeMap<String, T>,
) -> Result<()> {
    let mut table = transaction.open_table(table)?;
    for (key, value) in to {
        let value = serde_json::to_vec(value)?;
        let former = from.get(key).map(serde_json::to_vec).transpose()?;
        if former.as_ref() != Some(&value) {
            table.insert(key.as_str(), value.as_slice())?;
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        table.remove(key.as_str())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::driver::records::{Holder, Pool, Scope};

    fn records(last: u8) -> Records {
        let scope = Scope {
            net: None,
            subnet: "10.90.0.0/24".parse().unwrap(),
        };
        let pool = Pool {
            scope: scope.clone(),
            range: None,
            named: false,
        };
        let lease = Lease {
            holder: Holder::Unclaimed(7),
            container: Some("web".to_owned()),
        };
        let ip = IpAddr::from([10, 90, 0, last]);
        Records {
            pools: BTreeMap::from([(pool.to_string(), pool)]),
            leases: BTreeMap::from([((scope, ip), lease)]),
            ..Records::default()
        }
    }

    #[test]
    fn what_is_written_is_there_for_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.redb");
        let store = LocalStore::open(&path).unwrap();
        assert_eq!(store.read().unwrap(), Records::default());
        let (first, second) = (records(2), records(3));
        store.write(&Records::default(), &first).unwrap();
        store.write(&first, &second).unwrap();
        // A process that is killed closes nothing: what it leaves is the file as it is now.
        let copy = folder.path().join("copy.redb");
        fs::copy(&path, &copy).unwrap();
        assert_eq!(LocalStore::open(&copy).unwrap().read().unwrap(), second);
        assert_eq!(store.read().unwrap(), second);
        store.remove().unwrap();
        assert!(!path.exists());
    }
}
