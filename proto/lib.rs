//! The contract of Mediary as Rust types: the data plane [`v1`], the control plane [`admin`], the
//! method options [`options`], and the descriptor set they come from.
#![expect(clippy::all, clippy::allow_attributes, reason = "generated code")]

mod codec;

pub mod mediary {
    pub mod v1 {
        tonic::include_proto!("mediary.v1");
    }
    pub mod admin {
        pub mod v1 {
            tonic::include_proto!("mediary.admin.v1");
        }
    }
    pub mod options {
        pub mod v1 {
            tonic::include_proto!("mediary.options.v1");
        }
    }
}

pub use mediary::{admin::v1 as admin, options::v1 as options, v1};

/// Every file of the contract and what it imports, as an encoded `google.protobuf.FileDescriptorSet`
/// with method options.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mediary.bin"));
