//! The JSON schema of a topology file, for editors and for those who generate files.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::model::Document;

/// The JSON schema (draft 2020-12) of a topology file.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(never_null));
    settings
        .into_generator()
        .into_root_schema_for::<Document>()
        .to_value()
}

/// An optional key is left out when there is nothing to say; it is not given as null.
fn never_null(schema: &mut Schema) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| *kind != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    schema.remove("default");
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type") != Some(&null));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            schema.insert(key, value);
        }
    }
}

/// Moves all but the description into the last of several choices.
fn or(schema: &mut Schema, others: impl IntoIterator<Item = Value>) {
    let mut long = std::mem::take(schema.ensure_object());
    let description = long.remove("description");
    let mut choices: Vec<Value> = others.into_iter().collect();
    choices.push(Value::Object(long));
    *schema = json_schema!({ "anyOf": choices });
    if let Some(description) = description {
        schema.insert("description".to_owned(), description);
    }
}

/// A section may be left empty.
pub(super) fn or_empty(schema: &mut Schema) {
    or(schema, [json!({ "const": null })]);
}

/// A list may be given as its one item.
pub(super) fn or_one(schema: &mut Schema) {
    let item = schema.get("items").cloned().unwrap_or(Value::Bool(true));
    or(schema, [item]);
}

/// A list of one text or more may be given as its one text, or not be wanted at all.
pub(super) fn or_off(schema: &mut Schema) {
    let some = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let description = schema.remove("description");
    *schema = json_schema!({ "anyOf": [{ "const": false }, { "type": "string" }, some] });
    if let Some(description) = description {
        schema.insert("description".to_owned(), description);
    }
}

/// A network may be given as its one subnet or the list of its subnets.
pub(super) fn or_its_subnets(schema: &mut Schema) {
    or_texts(schema);
}

/// A router's port may be given as its one address or the list of its addresses.
pub(super) fn or_its_addresses(schema: &mut Schema) {
    or_texts(schema);
}

fn or_texts(schema: &mut Schema) {
    let one = json!({ "type": "string" });
    let many = json!({ "type": "array", "items": one });
    or(schema, [one, many]);
}

/// A host may be given as its address.
pub(super) fn or_its_address(schema: &mut Schema) {
    or(schema, [json!({ "type": "string" })]);
}

/// What is behind a VTEP may be given as one MAC address or `learn`, or as a list of MAC addresses.
pub(super) fn or_macs_or_learn(schema: &mut Schema) {
    or_texts(schema);
}

/// A number may be left to be found out.
pub(super) fn or_auto(schema: &mut Schema) {
    or(schema, [json!({ "const": "auto" })]);
}

/// A port may be given as its network's name.
pub(super) fn or_its_network(schema: &mut Schema) {
    or(schema, [json!({ "type": "string" })]);
}

/// A duration may be given with a unit.
pub(super) fn or_duration(schema: &mut Schema) {
    or(
        schema,
        [json!({ "type": "string", "pattern": "^[0-9]+[smh]?$" })],
    );
}

/// A workload is in one place.
pub(super) fn at_most_one_place(schema: &mut Schema) {
    let both = |a: &str, b: &str| json!({ "required": [a, b] });
    let pairs = [
        both("container", "netns"),
        both("container", "pid"),
        both("netns", "pid"),
    ];
    schema.insert("not".to_owned(), json!({ "anyOf": pairs }));
}
