//! Every recorded exchange of a wire that is built yields exactly what its recording says, whole
//! and cut into small pieces, through the real server and the real client.

mod support;

use std::path::Path;

use support::{
    endpoints::{self, Desk},
    recordings::{self, Case},
    replay::{self, Stage},
};

/// Sizes of the pieces that bodies arrive in; 0 = whole.
const PIECES: [usize; 6] = [0, 1, 2, 3, 7, 64];

#[tokio::test(flavor = "multi_thread")]
async fn our_own_recordings_yield_what_they_say_however_they_are_cut() {
    let cases = recordings::all(&recordings::own());
    let (supported, rest): (Vec<_>, Vec<_>) = cases.into_iter().partition(is_supported);
    assert!(rest.is_empty(), "not played: {:?}", names(&rest));
    play_all(&supported).await;
}

/// `MEDIARY_FIXTURES` names a folder of the same format. What this build cannot play is listed by
/// name; what it can must pass.
#[tokio::test(flavor = "multi_thread")]
async fn recordings_from_elsewhere_yield_what_they_say_however_they_are_cut() {
    let Some(folder) = std::env::var_os("MEDIARY_FIXTURES") else {
        println!("MEDIARY_FIXTURES is not set: only the project's own recordings are played");
        return;
    };
    let cases = recordings::all(Path::new(&folder));
    let (supported, rest): (Vec<_>, Vec<_>) = cases.into_iter().partition(is_supported);
    println!("not played, their operation is not built yet ({}):", rest.len());
    for case in &rest {
        println!("  {} ({})", case.name, case.operation);
    }
    assert!(!supported.is_empty(), "{folder:?} holds no case of a wire that is built");
    play_all(&supported).await;
}

fn is_supported(case: &Case) -> bool {
    replay::is_supported(case) || endpoints::is_supported(case)
}

async fn play_all(cases: &[Case]) {
    let (others, texts): (Vec<_>, Vec<_>) =
        cases.iter().cloned().partition(endpoints::is_supported);
    let (stage, desk) = (Stage::new(&texts).await, Desk::new(&others).await);
    let mut wrong = Vec::new();
    for case in cases {
        for piece in PIECES {
            let found = if endpoints::is_supported(case) {
                desk.play(case, piece).await
            } else {
                stage.play(case, piece).await
            };
            for what in found {
                wrong.push(format!("{} in pieces of {piece}: {what}", case.name));
            }
        }
    }
    let total = cases.len();
    assert!(wrong.is_empty(), "{} of {total} cases:\n{}", wrong.len(), wrong.join("\n"));
    println!("{total} cases, each whole and in pieces of {:?} bytes", &PIECES[1..]);
}

fn names(cases: &[Case]) -> Vec<&str> {
    cases.iter().map(|case| case.name.as_str()).collect()
}
