//! The container that a process is in.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A container, as the cgroup of a process in it and the engine's own state tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// The engine's id for it, or the name it was given.
    pub id: String,
    /// `docker`, `containerd`, `podman`, …; absent in records of programs that did not write it yet.
    pub engine: Option<String>,
    /// Uid of the Kubernetes pod.
    pub pod: Option<String>,
    /// The image, as its engine names it.
    pub image: Option<String>,
    /// The user whose own engine it is, and on whose word all this rests.
    pub user: Option<u32>,
}

impl From<&model::Container> for Container {
    fn from(container: &model::Container) -> Self {
        Self {
            id: container.id.clone(),
            engine: Some(container.engine.as_str().to_owned()),
            pod: container.pod.clone(),
            image: container.image.clone(),
            user: container.user,
        }
    }
}

/// Reads a container, also where an earlier program wrote nothing but its id.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Container>, D::Error> {
    from.deserialize_any(Written)
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Option<Container>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a container, or its id")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Self::Value, E> {
        if id.is_empty() {
            return Err(E::custom("an empty id"));
        }
        Ok(Some(Container { id: id.to_owned(), engine: None, pod: None, image: None, user: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Container::deserialize(MapAccessDeserializer::new(map)).map(Some).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "deserialize")]
        container: Option<Container>,
    }

    fn read(value: serde_json::Value) -> Result<Option<Container>, serde_json::Error> {
        serde_json::from_str::<Holder>(&value.to_string()).map(|holder| holder.container)
    }

    #[test]
    fn a_container_is_read_as_it_was_written_also_by_earlier_programs() {
        let container = Container {
            id: "abc".to_owned(),
            engine: Some("podman".to_owned()),
            pod: Some("p-1".to_owned()),
            image: Some("python:3.12".to_owned()),
            user: Some(1000),
        };
        let written = json!({ "container": container });
        assert_eq!(read(written).unwrap(), Some(container));
        let only_id = Container { id: "abc".to_owned(), engine: None, pod: None, image: None, user: None };
        for written in [json!({ "container": "abc" }), json!({ "container": { "id": "abc" } })] {
            assert_eq!(read(written).unwrap().as_ref(), Some(&only_id));
        }
        for none in [json!({}), json!({ "container": null })] {
            assert_eq!(read(none).unwrap(), None);
        }
        for wrong in [json!(""), json!(7), json!([]), json!({}), json!({ "id": "a", "more": 1 })] {
            assert!(read(json!({ "container": wrong })).is_err(), "{wrong}");
        }
    }
}
