//! The schema that editors use is the one of this code.
#![cfg(feature = "schema")]

#[test]
fn the_schema_in_docs_is_current() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/palisade-policy.schema.json"
    );
    let stored = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        stored,
        format!("{:#}\n", palisade_config::schema()),
        "run the example `schema` of palisade-config and store what it prints"
    );
}

#[test]
fn the_schema_refuses_unknown_keys_everywhere() {
    let schema = palisade_config::schema();
    let mut tables = vec![&schema];
    tables.extend(schema["$defs"].as_object().unwrap().values());
    let mut closed = 0;
    for table in tables.iter().filter(|table| table["type"] == "object") {
        assert_eq!(table["additionalProperties"], false, "{table}");
        closed += 1;
    }
    assert_eq!(
        closed, 25,
        "the file, its five sections, volumes and file systems in memory, two kinds of rules, limits of the gate, the container backend's two, gVisor's, and eleven tables of credentials"
    );
}
