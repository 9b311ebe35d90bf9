//! Amounts that are counted: what a worker has, and what a task takes of one. Both are said in the same words.
//!
//! What a name stands for is the worker's to know.

use clap::Args;
use convoke_node::devices::MEMORY;
use convoke_wire::core::{NAME_BYTES_MAX, Needs, RESOURCES_MAX, Resources};

use super::serve::parse_size;
use crate::failure::Failure;

/// What a task takes of a worker beside slots.
#[derive(Clone, Debug, Default, Args)]
pub struct NeedsArgs {
    /// What a task takes of a resource that workers count, such as gpu=1; several times
    #[arg(long, value_name = "NAME=COUNT", value_parser = parse_resource)]
    pub resource: Vec<Resource>,
    /// How much memory a task takes, such as 2GiB: it runs where that is free
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
}

impl NeedsArgs {
    /// What a task of so many slots needs.
    pub fn needs(&self, slots: u32) -> Result<Needs, Failure> {
        Ok(Needs { slots, resources: resources(&self.resource, self.memory)? })
    }
}

/// A counted resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What it is called.
    pub name: String,
    /// How much, at least 1.
    pub count: u64,
}

/// All of them, and memory.
pub fn resources(counted: &[Resource], memory: Option<u64>) -> Result<Resources, Failure> {
    let memory = memory.map(|count| Resource { name: MEMORY.to_owned(), count });
    let mut all = Resources::default();
    for Resource { name, count } in counted.iter().chain(&memory) {
        if all.get(name) > 0 {
            let error = format!("--resource {name}={count}: {name} was given already");
            return Err(Failure::bad_input(error).hint("name each resource once"));
        }
        all.add(&Resources::from_iter([(name.as_str(), *count)]));
    }
    match all.check() {
        Ok(()) => Ok(all),
        Err(error) => Err(Failure::bad_input(error).hint(format!("{RESOURCES_MAX} at most, --memory among them"))),
    }
}

/// A name, and how much of it. The name is one that a variable's may be made of, without another for the same variable.
pub(super) fn parse_resource(text: &str) -> Result<Resource, String> {
    let expected = || "a resource is NAME=COUNT, such as gpu=2".to_owned();
    let (name, count) = text.split_once('=').ok_or_else(expected)?;
    match name {
        MEMORY => return Err("memory has a flag of its own: --memory SIZE".to_owned()),
        "slots" => return Err("slots have a flag of their own: --slots N".to_owned()),
        _ => {}
    }
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= NAME_BYTES_MAX;
    if !begins || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Err(format!("the name {name:?} is not made of small letters, digits and _, a letter first"));
    }
    let count = count.parse().ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| "the count is a whole number from 1".to_owned())?;
    Ok(Resource { name: name.to_owned(), count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read() {
        let parse = |text| parse_resource(text).map(|Resource { name, count }| (name, count));
        assert_eq!(parse("gpu=2"), Ok(("gpu".to_owned(), 2)));
        assert_eq!(parse("license_a1=1"), Ok(("license_a1".to_owned(), 1)));
        for (wrong, said) in [
            ("gpu", "NAME=COUNT"),
            ("gpu=", "from 1"),
            ("gpu=0", "from 1"),
            ("gpu=-1", "from 1"),
            ("gpu=1.5", "from 1"),
            ("=1", "\"\" is not"),
            ("GPU=1", "\"GPU\" is not"),
            ("1st=1", "\"1st\" is not"),
            ("a b=1", "\"a b\" is not"),
            ("memory=1", "--memory SIZE"),
            ("slots=1", "--slots N"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    #[test]
    fn needs_are_each_named_once() {
        let gpu = |count| Resource { name: "gpu".to_owned(), count };
        let args = NeedsArgs { resource: vec![gpu(2)], memory: Some(1 << 30) };
        let needs = args.needs(3).unwrap();
        assert_eq!((needs.slots, needs.resources.to_string()), (3, "gpu=2, memory=1073741824".to_owned()));
        assert!(NeedsArgs::default().needs(1).unwrap().is_one_slot());
        let twice = resources(&[gpu(2), gpu(1)], None).unwrap_err();
        assert_eq!(twice.to_string(), "--resource gpu=1: gpu was given already");
    }
}
