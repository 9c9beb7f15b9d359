//! A real Alertmanager shows a drift fire, keeps showing it, and shows it end. What this does not
//! prove: that Alertmanager pages anybody, which is its own to test.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    drift::{JUDGED, QUIET, SHIFTED, freeze},
    harness::{
        clock::{eventually, until},
        door,
        fleet::Fleet,
        house::{House, Settings},
        program,
    },
};

/// An Alertmanager that is gone with its test.
struct Alertmanager {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Alertmanager {
    fn start(program: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("alertmanager.yml");
        fs::write(
            &config,
            "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n",
        )
        .unwrap();
        // Free a moment ago; it takes no port 0.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = fs::File::create(folder.path().join("log.txt")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Self {
            child,
            url: format!("http://{address}"),
            folder,
        };
        let ready = format!("{}/-/ready", started.url);
        until("Alertmanager is ready", || {
            door::get(&ready, &[]).is_ok_and(|answer| answer.status == 200)
        });
        started
    }

    /// Alerts that it holds for firing.
    fn firing(&self) -> Vec<Value> {
        let answer = door::get(&format!("{}/api/v2/alerts", self.url), &[]).unwrap();
        answer.json().as_array().unwrap().clone()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_drift_fires_at_alertmanager_and_ends_there() {
    let Some(program) = program::alertmanager() else {
        return;
    };
    let alertmanager = Alertmanager::start(&program);
    let alert = format!(
        "[[alert.endpoints]]\nname = \"pager\"\nkind = \"alertmanager\"\nresend = \"1s\"\n\
         url = \"{}/api/v2/alerts\"\nallow_internal = true\n",
        alertmanager.url
    );
    let config = "[store]\nseal_after = \"1s\"\n[drift]\nlane = \"1s\"\nseries_budget = 32\n";
    let mut house = House::with(Settings {
        config: format!("{config}{alert}"),
        ..Settings::default()
    });
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 31);
    fleet.tell(&house, 1..=QUIET + 5, 1.0);
    fleet.tell(&house, QUIET + 6..=QUIET + JUDGED, SHIFTED);
    freeze(&house, &fleet);
    let fires = eventually("the alert fires", || alertmanager.firing().pop());
    let labels = fires["labels"].as_object().unwrap();
    assert_eq!(labels["alertname"], "FathomlineDrift", "{fires}");
    assert_eq!(labels["device_class"], "kiosk", "{fires}");
    assert!(!labels.keys().any(|label| label == "device"), "{fires}");
    let page = fires["generatorURL"].as_str().unwrap();
    // Pages read copies of verdicts, which may be a moment behind the letter.
    until("its page is there", || {
        door::get(page, &[]).unwrap().status == 200
    });
    let believed = fires["endsAt"].clone();
    until("it is told again", || {
        let firing = alertmanager.firing();
        firing
            .first()
            .is_some_and(|alert| alert["endsAt"] != believed)
    });
    // A collector that was killed goes on telling, and nothing fires twice.
    house.reopen();
    let until_us = alertmanager.firing()[0]["endsAt"].clone();
    until("it is told again after a kill", || {
        let firing = alertmanager.firing();
        firing.len() == 1 && firing[0]["endsAt"] != until_us
    });
    assert_eq!(alertmanager.firing()[0]["startsAt"], fires["startsAt"]);
    // The signal is back where it was.
    until("the alert ends", || {
        let lane = fleet.lane_ending_now();
        fleet.tell(&house, lane..=lane, 1.0);
        alertmanager.firing().is_empty()
    });
    let listed = house.page("/api/v1/deliveries").json();
    let states = listed["deliveries"].as_array().unwrap().iter();
    let delivered = states.filter(|one| one["state"] == "delivered").count();
    assert_eq!(
        delivered,
        2,
        "fired and ended: {listed}\n{}",
        alertmanager.log()
    );
}
