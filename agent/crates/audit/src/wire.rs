//! How values of other rooms are spelled on disk. Written here, not derived there, so that no other room can change it.

use model::{ConnectionId, Mode, QueryId, RequestId, SessionId, Timestamp};
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

macro_rules! uuid_text {
    ($module:ident, $id:ident) => {
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(id: &$id, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(id)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$id, D::Error> {
                let text = String::deserialize(from)?;
                $id::parse(&text).ok_or_else(|| D::Error::custom("not a uuid"))
            }
        }
    };
}

uuid_text!(session_id, SessionId);
uuid_text!(query_id, QueryId);
uuid_text!(connection_id, ConnectionId);

pub(crate) mod request_id {
    use super::*;

    #[allow(clippy::ref_option, reason = "the signature serde asks for")]
    pub(crate) fn serialize<S: Serializer>(id: &Option<RequestId>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.collect_str(id),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RequestId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| RequestId::parse(&text).ok_or_else(|| D::Error::custom("not a uuid"))).transpose()
    }
}

pub(crate) mod mode {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(mode: &Mode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(mode.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
        let text = String::deserialize(from)?;
        let known = [Mode::Observe, Mode::Enforce].into_iter().find(|mode| mode.as_str() == text);
        known.ok_or_else(|| D::Error::custom("a mode is `observe` or `enforce`"))
    }
}

/// RFC 3339 in UTC with six decimals.
pub(crate) mod timestamp {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Timestamp::from(std::time::SystemTime::from(time)))
    }
}
