//! Answers, and the witnesses that come with a good one. None can be made outside of this crate.

use std::{fmt, sync::Arc};

use model::{QueryId, RuleId, SqlText};

use crate::{Carried, Clearance, plan::Plan};

/// Rules that no file holds: what refuses when no rule spoke.
pub(crate) mod built_in {
    /// No rule permits it.
    pub(crate) const DEFAULT_DENY: &str = "default-deny";
    /// The statement was not understood.
    pub(crate) const NOT_UNDERSTOOD: &str = "not-understood";
    /// It holds several statements, whose results are not followed.
    pub(crate) const SEVERAL_STATEMENTS: &str = "several-statements";
    /// It reaches data that its text does not name.
    pub(crate) const READS_ELSEWHERE: &str = "reads-elsewhere";
    /// It names an object in part, and the session does not name the rest.
    pub(crate) const UNKNOWN_NAME: &str = "unknown-name";
    /// It names more than is judged.
    pub(crate) const TOO_MANY_OBJECTS: &str = "too-many-objects";
    /// A rule could not be evaluated.
    pub(crate) const NOT_JUDGED: &str = "not-judged";
}

/// All of them: a rule of a file may not take their names.
pub(crate) const BUILT_IN_RULES: &[&str] = &[
    built_in::DEFAULT_DENY,
    built_in::NOT_UNDERSTOOD,
    built_in::SEVERAL_STATEMENTS,
    built_in::READS_ELSEWHERE,
    built_in::UNKNOWN_NAME,
    built_in::TOO_MANY_OBJECTS,
    built_in::NOT_JUDGED,
];

/// The answer to an ask.
#[must_use]
#[derive(Debug)]
pub enum Decision<P> {
    /// Go on, with this. In observe mode every answer is this one.
    Permit(P),
    /// Only rules that people can lift stand against it. Until they can, it is a refusal.
    Hold(Hold),
    /// No.
    Denial(Denial),
}

impl<P> Decision<P> {
    /// The permit, or the refusal that a hold is as long as nobody can lift it.
    ///
    /// # Errors
    /// The refusal.
    pub fn permit(self) -> Result<P, Denial> {
        match self {
            Self::Permit(permit) => Ok(permit),
            Self::Hold(hold) => Err(hold.into_denial()),
            Self::Denial(denial) => Err(denial),
        }
    }
}

/// Why not. `Display` is the sentence after "Snowfence refused this statement: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    reason: String,
    rules: Vec<RuleId>,
}

impl Denial {
    /// `first` is the rule people are told of; `others` refused as well.
    pub(crate) fn new(reason: String, first: RuleId, others: impl IntoIterator<Item = RuleId>) -> Self {
        Self { reason, rules: std::iter::once(first).chain(others).collect() }
    }

    pub(crate) fn built_in(rule: &'static str, reason: String) -> Self {
        Self::new(reason, RuleId::new(rule), [])
    }

    /// The sentence.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The rules that refused, the one to tell people of first; never empty. [`Denial::rule`] is that one.
    #[must_use]
    pub fn rules(&self) -> &[RuleId] {
        &self.rules
    }

    /// The rule to tell people of.
    #[must_use]
    pub fn rule(&self) -> RuleId {
        self.rules.first().cloned().unwrap_or_else(|| RuleId::new(built_in::DEFAULT_DENY))
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Who can lift a rule: so many people of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Approvers {
    /// The group.
    pub group: String,
    /// How many of it are needed, from 1.
    pub count: u32,
}

impl fmt::Display for Approvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(&self.group),
            count => write!(f, "{count} of {}", self.group),
        }
    }
}

/// What people can lift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    denial: Denial,
    approvers: Vec<Approvers>,
}

impl Hold {
    pub(crate) fn new(denial: Denial, approvers: Vec<Approvers>) -> Self {
        Self { denial, approvers }
    }

    /// What several of them come to; `None` if there are none.
    pub(crate) fn all(holds: Vec<Self>) -> Option<Self> {
        holds.into_iter().reduce(|mut all, next| {
            let known: Vec<RuleId> = all.denial.rules.clone();
            all.denial.rules.extend(next.denial.rules.into_iter().filter(|rule| !known.contains(rule)));
            all.approvers.extend(next.approvers);
            all.approvers.sort();
            all.approvers.dedup();
            all
        })
    }

    /// Who could lift it; each of these is needed.
    #[must_use]
    pub fn approvers(&self) -> &[Approvers] {
        &self.approvers
    }

    /// What the rules say.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.denial.reason()
    }

    /// The rules that hold it.
    #[must_use]
    pub fn rules(&self) -> &[RuleId] {
        self.denial.rules()
    }

    /// The refusal that it is as long as nobody can lift it.
    #[must_use]
    pub fn into_denial(self) -> Denial {
        let reason = format!(
            "{}; {} could approve it, and this version cannot ask them",
            self.denial.reason,
            self.approvers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        );
        Denial { reason, rules: self.denial.rules }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// What every permit remembers.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) rules: Arc<[RuleId]>,
    pub(crate) would_refuse: Option<Denial>,
}

/// A statement that may be sent, with the very text that was judged.
#[must_use]
#[derive(Debug)]
pub struct Permit {
    text: SqlText,
    query_id: QueryId,
    clearance: Clearance,
    verdict: Verdict,
    carries: Arc<[Carried]>,
}

impl Permit {
    pub(crate) fn new(text: SqlText, query_id: QueryId, clearance: Clearance, verdict: Verdict) -> Self {
        Self { text, query_id, clearance, verdict, carries: Arc::default() }
    }

    pub(crate) fn carrying(self, carries: Arc<[Carried]>) -> Self {
        Self { carries, ..self }
    }

    /// Where tags will be that go with the data: to be kept, before the statement is sent, for all that is judged later.
    #[must_use]
    pub fn carries(&self) -> &[Carried] {
        &self.carries
    }

    /// The statement's id.
    #[must_use]
    pub fn query_id(&self) -> QueryId {
        self.query_id
    }

    /// The rules that permitted it.
    #[must_use]
    pub fn rules(&self) -> &[RuleId] {
        &self.verdict.rules
    }

    /// In observe mode: what enforce mode would have refused it for.
    #[must_use]
    pub fn would_refuse(&self) -> Option<&Denial> {
        self.verdict.would_refuse.as_ref()
    }

    /// Uses it up: the text to send, and what is owed for the rows that come back.
    pub fn spend(self) -> (SqlText, QueryId, Clearance) {
        (self.text, self.query_id, self.clearance)
    }
}

/// A login that may be sent.
#[must_use]
#[derive(Debug)]
pub struct LoginPermit(Verdict);

/// An exchange that may be sent.
#[must_use]
#[derive(Debug)]
pub struct EndpointPermit(Verdict);

macro_rules! permit {
    ($name:ident) => {
        impl $name {
            pub(crate) fn new(verdict: Verdict) -> Self {
                Self(verdict)
            }

            /// The rules that permitted it.
            #[must_use]
            pub fn rules(&self) -> &[RuleId] {
                &self.0.rules
            }

            /// In observe mode: what enforce mode would have refused it for.
            #[must_use]
            pub fn would_refuse(&self) -> Option<&Denial> {
                self.0.would_refuse.as_ref()
            }
        }
    };
}

permit!(LoginPermit);
permit!(EndpointPermit);

/// What a judged statement comes to, before the mode is looked at.
pub(crate) type Judged<T> = Result<T, Refusal>;

/// Either kind of no.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    Hold(Hold),
    Denial(Denial),
}

impl Refusal {
    pub(crate) fn into_denial(self) -> Denial {
        match self {
            Self::Hold(hold) => hold.into_denial(),
            Self::Denial(denial) => denial,
        }
    }

    pub(crate) fn into_decision<P>(self) -> Decision<P> {
        match self {
            Self::Hold(hold) => Decision::Hold(hold),
            Self::Denial(denial) => Decision::Denial(denial),
        }
    }
}

/// What a permitted statement comes with.
#[derive(Debug, Clone)]
pub(crate) struct Permitted {
    pub(crate) rules: Arc<[RuleId]>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) carries: Arc<[Carried]>,
}
