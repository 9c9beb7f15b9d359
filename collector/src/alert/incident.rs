//! Incidents: alerts of one service and model that fire together, told as one. Pure.
//!
//! In: turns of alerts in the order of time, what is muted. Out: incidents with their members, and
//! which events are told to whom. One page an incident: the first member that may be told is told
//! to everybody, who joins later only to those that mirror every alert and group for themselves
//! (an Alertmanager). What fires again within its cooldown comes back to its incident and is told
//! only if it still fires when the cooldown is over; a muted one likewise when nothing mutes it any
//! more. The end of what was told is always told. Never: a clock, IO.

use std::collections::BTreeMap;

use super::{state::Turn, story};

/// Whose alert it is, and what people match silences against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cohort {
    /// What the alert is about, such as a series.
    pub(crate) subject: String,
    pub(crate) service: String,
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) device_class: String,
    /// Only of alerts that are about one.
    pub(crate) site: Option<String>,
    /// The signal by its metric name: the rule that fired.
    pub(crate) metric: String,
}

/// A turn of one alert, with the event that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) cohort: Cohort,
    pub(crate) turn: Turn,
    pub(crate) event: String,
    pub(crate) time_us: i64,
    pub(crate) cooldown_us: i64,
}

/// One alert of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) cohort: Cohort,
    pub(crate) fired_us: i64,
    pub(crate) fired_event: String,
    /// When and by which event it was over; none while it fires.
    pub(crate) resolved: Option<(i64, String)>,
    /// Those who mirror alerts hold it for firing.
    pub(crate) told: bool,
    /// It was over and is in its cooldown until then.
    pub(crate) quiet_until_us: i64,
}

impl Member {
    pub(crate) fn fires(&self) -> bool {
        self.resolved.is_none()
    }
}

/// Alerts that are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) model: String,
    /// The signal that opened it.
    pub(crate) rule: String,
    pub(crate) opened_us: i64,
    /// None while a member fires.
    pub(crate) resolved_us: Option<i64>,
    /// Everybody was told that it goes on, and nobody that it is over.
    pub(crate) told: bool,
    /// How often everybody was told that it goes on.
    pub(crate) pages: u32,
    /// By subject.
    pub(crate) members: BTreeMap<String, Member>,
}

impl Incident {
    /// Until when a member that fires again comes back to it.
    pub(crate) fn quiet_until_us(&self) -> i64 {
        let quiet = self.members.values().map(|member| member.quiet_until_us);
        quiet.max().unwrap_or(i64::MIN)
    }
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Everybody,
    /// Who mirrors every alert and groups for themselves.
    Mirrors,
}

/// An event that is told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(crate) event: String,
    pub(crate) audience: Audience,
}

/// What came of some turns.
#[derive(Debug, Default)]
pub(crate) struct Advanced {
    /// What is told, in order.
    pub(crate) telling: Vec<Telling>,
    /// The incident of every turn, by its event.
    pub(crate) places: BTreeMap<String, String>,
}

/// Incidents that go on, or whose members may come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Board {
    incidents: BTreeMap<String, Incident>,
    /// Alerts that fire within it after an incident opened are of it.
    group_us: i64,
}

impl Board {
    pub(crate) fn new(incidents: impl IntoIterator<Item = Incident>, group_us: i64) -> Self {
        let named = incidents.into_iter().map(|one| (one.id.clone(), one));
        Self {
            incidents: named.collect(),
            group_us,
        }
    }

    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    pub(crate) fn incident(&self, id: &str) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// The incident that a subject's alert is of, if any.
    pub(crate) fn of(&self, subject: &str) -> Option<&Incident> {
        let of = self.incidents.values();
        let of = of.filter(|incident| incident.members.contains_key(subject));
        of.max_by_key(|incident| (incident.resolved_us.is_none(), incident.opened_us))
    }

    /// Takes turns up to `until_us`; what is told of them, and of what is not muted any more.
    /// However they are cut into calls, the same is told as long as the same is muted.
    pub(crate) fn advance(
        &mut self,
        mut turned: Vec<Turned>,
        until_us: i64,
        muted: impl Fn(&Cohort) -> bool,
    ) -> Advanced {
        turned.sort_by(|a, b| (a.time_us, &a.cohort.subject).cmp(&(b.time_us, &b.cohort.subject)));
        let mut advanced = Advanced::default();
        let mut turned = turned.into_iter().peekable();
        while let Some(next) = turned.peek() {
            let at_us = next.time_us;
            // What became due before this moment was told before it.
            advanced.telling.extend(self.settle(at_us - 1, &muted));
            while let Some(now) = turned.next_if(|turned| turned.time_us == at_us) {
                let event = now.event.clone();
                let place = match now.turn {
                    Turn::Fires => Some(self.fire(now)),
                    Turn::Resolves => self.resolve(now),
                };
                advanced.places.extend(place.map(|place| (event, place)));
            }
            advanced.telling.extend(self.settle(at_us, &muted));
        }
        advanced.telling.extend(self.settle(until_us, &muted));
        advanced
    }

    fn fire(&mut self, turned: Turned) -> String {
        let id = self.place_of(&turned);
        let incident = self
            .incidents
            .entry(id.clone())
            .or_insert_with(|| Incident {
                id: id.clone(),
                service: turned.cohort.service.clone(),
                model: turned.cohort.model.clone(),
                rule: turned.cohort.metric.clone(),
                opened_us: turned.time_us,
                resolved_us: None,
                told: false,
                pages: 0,
                members: BTreeMap::new(),
            });
        incident.resolved_us = None;
        let before = incident.members.get(&turned.cohort.subject);
        let member = Member {
            fired_us: turned.time_us,
            fired_event: turned.event,
            resolved: None,
            told: before.is_some_and(|before| before.told),
            quiet_until_us: before.map_or(i64::MIN, |before| before.quiet_until_us),
            cohort: turned.cohort,
        };
        let subject = member.cohort.subject.clone();
        incident.members.insert(subject, member);
        id
    }

    /// Its own incident as long as that goes on or its cooldown does; otherwise one of its model
    /// that opened lately; otherwise a new one, named by the event that opens it.
    fn place_of(&self, turned: &Turned) -> String {
        let own = self.of(&turned.cohort.subject).filter(|incident| {
            let member = &incident.members[&turned.cohort.subject];
            incident.resolved_us.is_none() || turned.time_us < member.quiet_until_us
        });
        let together = || {
            let open = self.incidents.values().filter(|incident| {
                incident.resolved_us.is_none()
                    && incident.service == turned.cohort.service
                    && incident.model == turned.cohort.model
                    && turned.time_us.saturating_sub(incident.opened_us) <= self.group_us
            });
            open.max_by_key(|incident| (incident.opened_us, &incident.id))
        };
        match own.or_else(together) {
            Some(incident) => incident.id.clone(),
            None => format!("inc_{}", story::digest(&turned.event)),
        }
    }

    fn resolve(&mut self, turned: Turned) -> Option<String> {
        let id = self.of(&turned.cohort.subject)?.id.clone();
        let incident = self.incidents.get_mut(&id)?;
        let member = incident.members.get_mut(&turned.cohort.subject)?;
        member.resolved = Some((turned.time_us, turned.event));
        member.quiet_until_us = turned.time_us.saturating_add(turned.cooldown_us);
        if !incident.members.values().any(Member::fires) {
            incident.resolved_us = Some(turned.time_us);
        }
        Some(id)
    }

    fn settle(&mut self, at_us: i64, muted: impl Fn(&Cohort) -> bool) -> Vec<Telling> {
        let mut telling = vec![];
        for incident in self.incidents.values_mut() {
            settle(incident, at_us, &muted, &mut telling);
        }
        telling
    }
}

fn settle(
    incident: &mut Incident,
    at_us: i64,
    muted: impl Fn(&Cohort) -> bool,
    telling: &mut Vec<Telling>,
) {
    let mut members: Vec<&mut Member> = incident.members.values_mut().collect();
    members.sort_by(|a, b| (a.fired_us, &a.cohort.subject).cmp(&(b.fired_us, &b.cohort.subject)));
    let mut told = incident.told;
    for member in &mut members {
        let (event, fires) = match &member.resolved {
            None => (&member.fired_event, true),
            Some((_, event)) => (event, false),
        };
        let due = match fires {
            true => !member.told && at_us >= member.quiet_until_us && !muted(&member.cohort),
            false => member.told,
        };
        if !due {
            continue;
        }
        let audience = match fires && !told {
            true => Audience::Everybody,
            false => Audience::Mirrors,
        };
        telling.push(Telling {
            event: event.clone(),
            audience,
        });
        member.told = fires;
        if audience == Audience::Everybody {
            told = true;
            incident.pages += 1;
        }
    }
    // Everybody hears of the end with the last of them, whoever was told of the beginning.
    if told && incident.resolved_us.is_some() {
        let ends = members.iter().filter_map(|member| member.resolved.as_ref());
        telling.extend(ends.max().map(|(_, event)| Telling {
            event: event.clone(),
            audience: Audience::Everybody,
        }));
        told = false;
    }
    incident.told = told;
}

#[cfg(test)]
mod tests;
