//! The JSON schema of a topology file, for editors and for those who generate files.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::model::Document;
use crate::topology::Action;

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

/// A section of lists may be left empty, and so may each of its lists.
pub(super) fn or_empty_lists(schema: &mut Schema) {
    if let Some(list) = schema.get_mut("additionalProperties") {
        *list = json!({ "anyOf": [{ "const": null }, list.take()] });
    }
    or_empty(schema);
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

/// A group may be given as nothing, or as the addresses that belong to it.
pub(super) fn or_its_members(schema: &mut Schema) {
    or_texts(schema);
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.insert(0, json!({ "const": null }));
    }
}

/// One word for all directions.
pub(super) fn or_an_action(schema: &mut Schema) {
    let words = Action::ALL.map(Action::word);
    or(schema, [json!({ "enum": words })]);
}

/// One service or more: by name, or protocols by number.
fn services(description: &Value) -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let item = json!({ "anyOf": [text, number] });
    let many = json!({ "type": "array", "items": item, "minItems": 1 });
    json!({ "anyOf": [text, number, many], "description": description })
}

/// Services may be given as the only one.
pub(super) fn or_one_service(schema: &mut Schema) {
    let description = schema.remove("description").unwrap_or_default();
    if let Ok(services) = services(&description).try_into() {
        *schema = services;
    }
}

/// A rule has one verb, with what it is for; `return` may stand alone.
pub(super) fn with_one_verb(schema: &mut Schema) {
    let verbs = [
        (
            "allow",
            "Lets the connection through, if it is one of these: a service such as `tcp/80`, `udp/53-60`, `icmp/echo-request`, `icmp/3/4`, `sctp`, `gre` or `47`, a list of these, or `any`.",
        ),
        ("deny", "Drops it."),
        (
            "reject",
            "Drops it and tells the sender, by a TCP reset or an ICMP error.",
        ),
        (
            "return",
            "Leaves the list: goes on behind the jump that led into this chain, or with the next policy.",
        ),
    ];
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for (verb, description) in verbs {
        properties.insert(verb.to_owned(), services(&json!(description)));
    }
    let description = "Goes on with the chain of this name, and comes back behind its last rule.";
    let jump = json!({ "type": "string", "description": description });
    properties.insert("jump".to_owned(), jump);
    let all = verbs.iter().map(|(verb, _)| *verb).chain(["jump"]);
    let one: Vec<Value> = all.map(|verb| json!({ "required": [verb] })).collect();
    schema.insert("oneOf".to_owned(), Value::Array(one));
    let together = json!({ "services": ["jump"] });
    schema.insert("dependentRequired".to_owned(), together);
    or(schema, [json!({ "const": "return" })]);
}

/// An uplink may be on all hosts, or not be.
pub(super) fn or_a_switch(schema: &mut Schema) {
    or(schema, [json!({ "type": "boolean" })]);
}

/// A port that is published under its own number may be given as that.
pub(super) fn or_publications(schema: &mut Schema) {
    let description = schema.remove("description").unwrap_or_default();
    let item = json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] });
    let many = json!({ "type": "array", "items": item });
    *schema = json_schema!({ "anyOf": [item, many], "description": description });
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
        [json!({ "type": "string", "pattern": "^[0-9]+[smhd]?$" })],
    );
}

/// A workload is in one place.
pub(super) fn at_most_one_place(schema: &mut Schema) {
    let both = |a: &str, b: &str| json!({ "required": [a, b] });
    let mut pairs = vec![
        both("container", "netns"),
        both("container", "pid"),
        both("container", "endpoint"),
        both("netns", "pid"),
        both("netns", "endpoint"),
        both("pid", "endpoint"),
    ];
    for other in ["container", "netns", "pid", "endpoint"] {
        let mut pair = both(other, "host_network");
        pair["properties"] = json!({ "host_network": { "const": true } });
        pairs.push(pair);
    }
    schema.insert("not".to_owned(), json!({ "anyOf": pairs }));
}
