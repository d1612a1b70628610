//! What can be asked for: from which kinds of input to which kind of output.

use serde::{Deserialize, Serialize};

/// A kind of content that goes in or comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    Image,
    Video,
    Audio,
    Document,
    Vector,
    Voice,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Vector => "vector",
            Self::Voice => "voice",
        }
    }
}

/// A capability by its id in the contract (`text-to-image`, ...).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    TextToText,
    ImageToText,
    TextToImage,
    ImageToImage,
    TextToVideo,
    ImageToVideo,
    VideoToVideo,
    VideoToImage,
    VideoToAudio,
    TextToAudio,
    AudioToText,
    AudioToAudio,
    VoiceCloning,
    Avatar,
    TextToDocument,
    TextEmbedding,
}

impl Capability {
    pub const ALL: [Self; 16] = [
        Self::TextToText,
        Self::ImageToText,
        Self::TextToImage,
        Self::ImageToImage,
        Self::TextToVideo,
        Self::ImageToVideo,
        Self::VideoToVideo,
        Self::VideoToImage,
        Self::VideoToAudio,
        Self::TextToAudio,
        Self::AudioToText,
        Self::AudioToAudio,
        Self::VoiceCloning,
        Self::Avatar,
        Self::TextToDocument,
        Self::TextEmbedding,
    ];

    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == id)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TextToText => "text-to-text",
            Self::ImageToText => "image-to-text",
            Self::TextToImage => "text-to-image",
            Self::ImageToImage => "image-to-image",
            Self::TextToVideo => "text-to-video",
            Self::ImageToVideo => "image-to-video",
            Self::VideoToVideo => "video-to-video",
            Self::VideoToImage => "video-to-image",
            Self::VideoToAudio => "video-to-audio",
            Self::TextToAudio => "text-to-audio",
            Self::AudioToText => "audio-to-text",
            Self::AudioToAudio => "audio-to-audio",
            Self::VoiceCloning => "voice-cloning",
            Self::Avatar => "avatar",
            Self::TextToDocument => "text-to-document",
            Self::TextEmbedding => "text-embedding",
        }
    }

    pub fn display_name(self) -> &'static str {
        match self {
            Self::TextToText => "Text",
            Self::ImageToText => "Text from images",
            Self::TextToImage => "Image",
            Self::ImageToImage => "Image from image",
            Self::TextToVideo => "Video",
            Self::ImageToVideo => "Video from image",
            Self::VideoToVideo => "Video from video",
            Self::VideoToImage => "Frame from video",
            Self::VideoToAudio => "Sound from video",
            Self::TextToAudio => "Speech, sound and music",
            Self::AudioToText => "Transcript",
            Self::AudioToAudio => "Audio from audio",
            Self::VoiceCloning => "Speech in a cloned voice",
            Self::Avatar => "Talking avatar",
            Self::TextToDocument => "Document",
            Self::TextEmbedding => "Embedding",
        }
    }

    pub fn inputs(self) -> &'static [Kind] {
        match self {
            Self::TextToText
            | Self::TextToImage
            | Self::TextToVideo
            | Self::TextToAudio
            | Self::TextToDocument
            | Self::TextEmbedding => &[Kind::Text],
            Self::ImageToText | Self::ImageToImage | Self::ImageToVideo => {
                &[Kind::Text, Kind::Image]
            }
            Self::VideoToVideo | Self::VideoToImage | Self::VideoToAudio => &[Kind::Video],
            Self::AudioToText | Self::AudioToAudio => &[Kind::Audio],
            Self::VoiceCloning => &[Kind::Text, Kind::Audio],
            Self::Avatar => &[Kind::Image, Kind::Audio],
        }
    }

    pub fn outputs(self) -> &'static [Kind] {
        match self {
            Self::TextToText | Self::ImageToText | Self::AudioToText => &[Kind::Text],
            Self::TextToImage | Self::ImageToImage | Self::VideoToImage => &[Kind::Image],
            Self::TextToVideo | Self::ImageToVideo | Self::VideoToVideo | Self::Avatar => {
                &[Kind::Video]
            }
            Self::VideoToAudio | Self::TextToAudio | Self::AudioToAudio | Self::VoiceCloning => {
                &[Kind::Audio]
            }
            Self::TextToDocument => &[Kind::Document],
            Self::TextEmbedding => &[Kind::Vector],
        }
    }

    /// Whether an answer can be streamed to a waiting caller, rather than only made by a job.
    pub fn is_interactive(self) -> bool {
        matches!(
            self,
            Self::TextToText
                | Self::ImageToText
                | Self::TextToAudio
                | Self::VoiceCloning
                | Self::AudioToText
                | Self::TextEmbedding
        )
    }

    /// The field of `Job.input` that asks for it; empty where no job does.
    pub fn job_input(self) -> &'static str {
        match self {
            Self::TextToText | Self::ImageToText => "text",
            Self::TextToImage | Self::ImageToImage | Self::VideoToImage => "image",
            Self::TextToVideo | Self::ImageToVideo | Self::VideoToVideo => "video",
            Self::TextToAudio | Self::VideoToAudio | Self::AudioToAudio => "speech",
            Self::AudioToText => "transcription",
            Self::VoiceCloning => "cloned_speech",
            Self::Avatar => "avatar",
            Self::TextToDocument => "document",
            Self::TextEmbedding => "",
        }
    }
}
