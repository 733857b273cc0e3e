//! How well a planned session would be held: what its boundary says, what the gate and the session itself do beside it, and
//! what of that the person accepted.

use std::fmt;

use palisade_boundary::{Assessment, Backend, Control, Enforcement, Weakness};
use palisade_config::Sourced;
use palisade_policy::Source;
use palisade_workspace::WorkspaceAccess;

use crate::plan::Plan;

/// One control of a planned session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How well it is held.
    pub assessment: Assessment,
    /// Where it is written that it may be held less well.
    pub accepted: Option<Source>,
}

impl Held {
    /// What this boundary holds less well, accepted or not.
    pub fn weakness(&self) -> Option<&Weakness> {
        self.assessment.enforcement.weakness()
    }

    /// Whether a session is refused for this.
    pub fn refuses(&self) -> bool {
        self.weakness().is_some() && self.accepted.is_none()
    }
}

/// What of a policy a session uses beside its boundary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) interception: bool,
    pub(crate) credentials: bool,
}

impl Plan {
    /// How well each control would be held, by a look at no more than a start looks at.
    pub fn held(&self, backend: &dyn Backend) -> Vec<Held> {
        self.judged(backend.assess(&self.spec))
    }

    /// The same for a person who asks: what can only be known by trying is tried.
    pub fn examined(&self, backend: &dyn Backend) -> Vec<Held> {
        self.judged(backend.examine(&self.spec))
    }

    /// Why a session that is held like this would be refused, if it would.
    pub fn refusal(&self, backend: &'static str, held: &[Held]) -> Option<WeakerError> {
        let refused: Vec<Held> = held.iter().filter(|held| held.refuses()).cloned().collect();
        let accepts_nothing = self.accepts_nothing.as_ref();
        (!refused.is_empty()).then(|| WeakerError::new(backend, refused, accepts_nothing))
    }

    /// Refuses what is held less well here than the policy asks for, unless it was accepted by name.
    pub(crate) fn check_held(&self, backend: &dyn Backend) -> Result<(), WeakerError> {
        let refusal = self.refusal(backend.name(), &self.held(backend));
        refusal.map_or(Ok(()), Err)
    }

    fn judged(&self, mut answers: Vec<Assessment>) -> Vec<Held> {
        answers.extend(self.own_controls());
        judged(answers, &self.spec.controls(), &self.accepted)
    }

    /// What the session and the gate hold on any boundary.
    fn own_controls(&self) -> Vec<Assessment> {
        let mut held = Vec::new();
        if self.protect {
            held.push(Assessment {
                control: Control::Protect,
                enforcement: protected(self.access),
            });
        }
        let mut enforced = |used: bool, control, by| {
            if used {
                held.push(Assessment::enforced(control, by));
            }
        };
        enforced(
            !self.volumes.is_empty(),
            Control::Volumes,
            "folders of palisade's own state, shown in place of the host's",
        );
        enforced(
            self.used.interception,
            Control::Interception,
            "the gate, with an authority made for this session that can sign for those hosts alone; its key is never shown inside",
        );
        enforced(
            self.used.credentials,
            Control::Credentials,
            "the gate, which adds them outside, to permitted requests alone; inside there are stand-ins at most",
        );
        held
    }
}

/// All answers in the order of reports, those that are missing among them: what nobody answers for is held by nobody.
fn judged(
    mut answers: Vec<Assessment>,
    asked: &[Control],
    accepted: &[Sourced<Control>],
) -> Vec<Held> {
    for control in asked {
        if answers.iter().all(|answer| answer.control != *control) {
            let why = "this boundary does not say how it would hold it".to_owned();
            answers.push(Assessment {
                control: *control,
                enforcement: Enforcement::Unenforceable(Weakness { why, fix: None }),
            });
        }
    }
    answers.sort_by_key(|answer| Control::ALL.iter().position(|one| *one == answer.control));
    let accept = |assessment: Assessment| {
        // The last word is the nearest to the person.
        let mut words = accepted.iter().rev();
        let accepted = words.find(|word| word.value == assessment.control);
        Held {
            accepted: accepted.map(|word| word.source.clone()),
            assessment,
        }
    };
    answers.into_iter().map(accept).collect()
}

fn protected(access: WorkspaceAccess) -> Enforcement {
    let enforced = |by: &str| Enforcement::Enforced(by.to_owned());
    match access {
        WorkspaceAccess::Write => Enforcement::WeakerEverywhere(
            "what is there at the start is read-only; what the agent makes itself is named at the end (access = \
             \"review\" holds back all of it)"
                .to_owned(),
        ),
        WorkspaceAccess::Review => {
            enforced("the overlay: nothing lands before `palisade apply`, which names it first")
        }
        WorkspaceAccess::Scratch => enforced("the overlay: nothing lands"),
        WorkspaceAccess::Read => enforced("a workspace that cannot be written"),
    }
}

/// A boundary that holds less than the policy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeakerError {
    backend: &'static str,
    held: Vec<Held>,
    way_out: String,
}

impl WeakerError {
    fn new(backend: &'static str, held: Vec<Held>, accepts_nothing: Option<&Source>) -> Self {
        let way_out = way_out(&held, accepts_nothing);
        Self {
            backend,
            held,
            way_out,
        }
    }

    /// The names of what is held less well.
    pub fn controls(&self) -> Vec<&'static str> {
        let held = self.held.iter();
        held.map(|held| held.assessment.control.name()).collect()
    }

    /// What to do about it.
    pub fn fix(&self) -> &str {
        &self.way_out
    }
}

impl fmt::Display for WeakerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} boundary would hold less than the policy asks for",
            self.backend
        )?;
        for Held { assessment, .. } in &self.held {
            let Assessment {
                control,
                enforcement,
            } = assessment;
            write!(f, "\n  {control}: {enforcement}")?;
            if let Some(Weakness { fix: Some(fix), .. }) = enforcement.weakness() {
                write!(f, "\n    fix: {fix}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for WeakerError {}

/// How a session that would be refused for these starts all the same.
fn way_out(held: &[Held], accepts_nothing: Option<&Source>) -> String {
    let fixed = held.iter().all(|held| {
        held.weakness()
            .is_some_and(|weakness| weakness.fix.is_some())
    });
    let fix = if fixed { "do what `fix` says, or " } else { "" };
    if let Some(source) = accepts_nothing {
        return format!(
            "{fix}take `require = \"all\"` out of {source}, which forbids to accept it"
        );
    }
    let names = || held.iter().map(|held| held.assessment.control.name());
    let listed: Vec<String> = names().map(|name| format!("\"{name}\"")).collect();
    let options: Vec<String> = names()
        .map(|name| format!("--accept-weaker {name}"))
        .collect();
    format!(
        "{fix}accept it by name: `accept_weaker = [{}]` under [boundary], or `{}`",
        listed.join(", "),
        options.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weaker(control: Control, fix: Option<&str>) -> Assessment {
        Assessment {
            control,
            enforcement: Enforcement::Weaker(Weakness {
                why: "reasons".into(),
                fix: fix.map(str::to_owned),
            }),
        }
    }

    fn accepted(control: Control, source: &str) -> Sourced<Control> {
        Sourced {
            value: control,
            source: Source::new(source),
        }
    }

    fn refused(held: &[Held]) -> Vec<Control> {
        let refused = held.iter().filter(|held| held.refuses());
        refused.map(|held| held.assessment.control).collect()
    }

    #[test]
    fn a_weakness_refuses_until_it_is_accepted_by_its_own_name() {
        let answers = || {
            vec![
                weaker(Control::Memory, None),
                weaker(Control::Landlock, None),
            ]
        };
        let with = |words: &[Sourced<Control>]| refused(&judged(answers(), &[], words));
        let (memory, cpus) = (Control::Memory, Control::Cpus);
        assert_eq!(with(&[]), [Control::Landlock, memory]);
        assert_eq!(with(&[accepted(cpus, "a")]), [Control::Landlock, memory]);
        assert_eq!(with(&[accepted(memory, "a")]), [Control::Landlock]);
        let words = [
            accepted(memory, "team.toml:3"),
            accepted(memory, "--accept-weaker"),
        ];
        let held = judged(answers(), &[], &words);
        assert_eq!(held[1].accepted, Some(Source::new("--accept-weaker")));
        assert!(held[1].weakness().is_some());
    }

    #[test]
    fn what_is_weaker_on_every_boundary_refuses_nothing() {
        let masks = Assessment {
            control: Control::Masks,
            enforcement: Enforcement::WeakerEverywhere("time".into()),
        };
        let protect = Assessment {
            control: Control::Protect,
            enforcement: protected(WorkspaceAccess::Write),
        };
        assert_eq!(
            refused(&judged(vec![masks, protect], &[Control::Masks], &[])),
            []
        );
    }

    #[test]
    fn a_control_that_a_boundary_is_silent_about_is_not_held() {
        let answers = || vec![Assessment::enforced(Control::Lifetime, "walls")];
        let asked = [Control::Network, Control::Lifetime];
        let held = judged(answers(), &asked, &[]);
        assert_eq!(refused(&held), [Control::Network]);
        let Enforcement::Unenforceable(_) = held[0].assessment.enforcement else {
            panic!("{held:?}");
        };
        assert_eq!(refused(&judged(answers(), &[Control::Lifetime], &[])), []);
    }

    #[test]
    fn the_refusal_names_each_control_and_both_ways_out() {
        let both = vec![
            weaker(Control::Memory, Some("buy more")),
            weaker(Control::Cpus, Some("wait")),
        ];
        let held = judged(both, &[], &[]);
        let error = WeakerError::new("paper", held.clone(), None);
        assert_eq!(
            error.to_string(),
            "the paper boundary would hold less than the policy asks for\n  limits.memory: weaker: reasons\n    fix: buy more\n  \
             limits.cpus: weaker: reasons\n    fix: wait"
        );
        assert_eq!(
            error.fix(),
            "do what `fix` says, or accept it by name: `accept_weaker = [\"limits.memory\", \"limits.cpus\"]` under [boundary], or \
             `--accept-weaker limits.memory --accept-weaker limits.cpus`"
        );
        let workspace = Source::new("palisade.toml:3");
        let error = WeakerError::new("paper", held, Some(&workspace));
        assert!(error.fix().contains("palisade.toml:3"), "{}", error.fix());
        assert!(!error.fix().contains("accept-weaker"), "{}", error.fix());
        let hopeless = judged(vec![weaker(Control::Memory, None)], &[], &[]);
        let error = WeakerError::new("paper", hopeless, None);
        assert!(
            error.fix().starts_with("accept it by name"),
            "{}",
            error.fix()
        );
    }
}
