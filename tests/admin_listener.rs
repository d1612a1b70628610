//! Where the admin services answer: on this machine, on a listener of their own, or where an
//! operator asks for it; never on an address for other machines by omission.

mod support;

use mediary_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::DescriptorPool;
use support::{
    House,
    certificates::Authority,
    wire::{Answer, GRPC, Wire},
};
use tonic::Code;

const SERVER_INFO: &str = "/mediary.v1.ServerService/GetServerInfo";
const PUBLIC: &str = "listen.address = \"0.0.0.0:0\"\nlisten.allow_insecure_public = true";
const OWN: &str = "admin.address = \"127.0.0.1:0\"";

/// One method of every admin service.
fn paths() -> Vec<String> {
    let contract = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = contract.services().filter(|one| one.package_name() == "mediary.admin.v1");
    let paths: Vec<String> = services
        .map(|one| format!("/{}/{}", one.full_name(), one.methods().next().unwrap().name()))
        .collect();
    assert!(paths.len() > 5, "{paths:?}");
    paths
}

/// Whether the listener keeps it to itself that it could be asked. What is not built says so.
fn is_elsewhere(answer: &Answer) -> bool {
    let status = answer.status.as_ref().unwrap();
    let elsewhere = status.message().contains("do not answer here");
    if elsewhere {
        assert_eq!(
            (answer.code(), answer.reason().as_str()),
            (Code::Unimplemented, "METHOD_DISABLED")
        );
    }
    elsewhere
}

async fn is_everywhere(wire: &Wire, elsewhere: bool) {
    for path in paths() {
        let answer = wire.ask(wire.call(GRPC, &path, &())).await;
        assert_eq!(is_elsewhere(&answer), elsewhere, "{path}: {answer:?}");
    }
    assert_eq!(wire.ask(wire.call(GRPC, SERVER_INFO, &())).await.code(), Code::Ok);
}

#[tokio::test]
async fn on_this_machine_they_answer_with_everything_else() {
    is_everywhere(&Wire::http2(&House::new()), false).await;
}

#[tokio::test]
async fn on_an_address_for_other_machines_they_answer_only_when_asked_to() {
    is_everywhere(&Wire::http2(&House::plan().config(PUBLIC).start()), true).await;
    let asked = House::plan().config(PUBLIC).config("admin.on_public = true").start();
    is_everywhere(&Wire::http2(&asked), false).await;
}

#[tokio::test]
async fn on_a_listener_of_their_own_they_answer_and_nowhere_else() {
    for main in ["", PUBLIC, &format!("{PUBLIC}\nadmin.on_public = true")] {
        let house = House::plan().config(main).config(OWN).start();
        is_everywhere(&Wire::http2(&house), true).await;
        is_everywhere(&Wire::http2_at(&house.admin_address()), false).await;
    }
}

#[tokio::test]
async fn their_listener_encrypts_as_the_main_one_unless_it_has_a_certificate_of_its_own() {
    let (main, own) = (Authority::new(), Authority::new());
    let shared = main.house().config(OWN).start();
    let at_admin = shared.admin_address();
    assert!(main.connect_to(&at_admin, "h2").await.is_ok());

    let signed = own.sign();
    let apart = main
        .house()
        .config(OWN)
        .config("admin.tls = { certificate = \"admin.pem\", key = \"admin.key\" }")
        .file("admin.pem", signed.certificate)
        .file("admin.key", signed.key)
        .start();
    let at_admin = apart.admin_address();
    assert!(own.connect_to(&at_admin, "h2").await.is_ok());
    assert!(main.connect_to(&at_admin, "h2").await.is_err());
    assert!(main.connect(&apart, "h2").await.is_ok());
}
