//! Messages as bytes: prost's, in buffers that fit our messages.
//!
//! tonic starts every stream with 8 KiB each way and collects 32 KiB, in a block of 64, before it
//! lets go of anything. A token is a hundred bytes, and a server holds ten thousand streams.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::ProstCodec;

/// What a stream begins with; it grows for whoever needs more.
const BUFFER: usize = 2 << 10;
/// What is collected of messages that are ready at once, and held for a reader that stalls.
const TOGETHER: usize = 8 << 10;

/// What the generated clients and servers encode and decode with.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as tonic::codec::Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as tonic::codec::Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, TOGETHER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, TOGETHER))
    }
}
