//! `chat`: asks a model, once or turn by turn.
//!
//! Owns: the options and the choice between once and in turns. Leaves: reading the prompt and the
//! files (`prompt`), one answer (`turn`), the conversation (`talk`).

pub(super) mod prompt;
mod talk;
pub(super) mod turn;

use std::path::PathBuf;

use clap::Args;
use mediary_proto::v1;

use self::{prompt::Prompt, turn::Turn};
use super::{out::Out, problem::Problem};
use crate::{Client, TextRequest, env, target};

/// Names the model when no option does.
const MODEL: &str = "MEDIARY_MODEL";

/// Options of `chat`.
#[derive(Debug, Clone, Args)]
pub struct ChatArgs {
    /// What to ask; what is piped in is added. Without either, a conversation begins
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// The model, such as sandbox-text [env: MEDIARY_MODEL]
    #[arg(short, long, value_name = "MODEL", conflicts_with_all = ["preset", "task"])]
    model: Option<String>,
    /// The preset whose models answer
    #[arg(long, value_name = "PRESET", conflicts_with = "task")]
    preset: Option<String>,
    /// The task whose models answer
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Instructions that stand above the conversation
    #[arg(short, long, value_name = "TEXT")]
    system: Option<String>,
    /// Randomness, from 0 to 2
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,
    /// Most tokens of an answer
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<i64>,
    /// Seed, to get the same answer again where the model can
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    seed: Option<i64>,
    /// How much to think, a word of the model, such as low or high
    #[arg(long, value_name = "EFFORT")]
    reasoning: Option<String>,
    /// Answer in JSON
    #[arg(long, conflicts_with = "schema")]
    json: bool,
    /// Answer in JSON that follows the JSON Schema in this file
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// A picture to ask about, at most 1 MiB; may be repeated
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Wait for the whole answer instead of showing it as it is written
    #[arg(long)]
    no_stream: bool,
    /// Show the model's thinking, on stderr
    #[arg(long)]
    show_reasoning: bool,
    /// Show model, tokens, cost and times after each answer, on stderr
    #[arg(long)]
    usage: bool,
}

/// `chat`
pub(super) async fn run(
    client: &Client,
    out: &Out,
    url: &str,
    args: ChatArgs,
) -> Result<(), Problem> {
    let request = args.request()?;
    let images = prompt::images(&args.images)?;
    let turn = Turn {
        client,
        out,
        url,
        stream: !args.no_stream,
        reasoning: args.show_reasoning,
        usage: args.usage,
    };
    match prompt::read(&args.prompt)? {
        Prompt::Once(text) => {
            let request = request.message(prompt::user(images, text));
            turn.once(request).await
        }
        Prompt::Talk if out.is_json() => {
            Err(Problem::Usage("a conversation cannot be JSON: name a prompt".to_owned()))
        }
        Prompt::Talk => talk::talk(&turn, request, images).await,
    }
}

impl ChatArgs {
    /// The request, still without a question.
    fn request(&self) -> Result<TextRequest, Problem> {
        let request =
            TextRequest { parameters: self.parameters()?, ..TextRequest::new(self.target()) };
        Ok(match &self.system {
            Some(text) => request.system(text),
            None => request,
        })
    }

    fn target(&self) -> v1::ModelTarget {
        match (&self.model, &self.preset, &self.task) {
            (Some(name), ..) => target::model(name),
            (_, Some(name), _) => target::preset(name),
            (_, _, Some(task)) => target::route(task),
            _ => env::var(MODEL).map_or_else(target::auto, target::model),
        }
    }

    fn parameters(&self) -> Result<v1::TextParameters, Problem> {
        let effort = self.reasoning.clone().unwrap_or_default();
        let thinks = !effort.is_empty() || self.show_reasoning;
        let reasoning =
            v1::ReasoningOptions { effort, include: self.show_reasoning, ..Default::default() };
        Ok(v1::TextParameters {
            max_output_tokens: self.max_tokens,
            temperature: self.temperature,
            seed: self.seed,
            reasoning: thinks.then_some(reasoning),
            response_format: self
                .format()?
                .map(|format| v1::ResponseFormat { format: Some(format) }),
            ..Default::default()
        })
    }

    fn format(&self) -> Result<Option<v1::response_format::Format>, Problem> {
        use v1::response_format::Format;

        Ok(match &self.schema {
            Some(file) => {
                let schema_json = prompt::schema(file)?;
                let schema = v1::JsonSchemaFormat { schema_json, ..Default::default() };
                Some(Format::JsonSchema(schema))
            }
            None => self.json.then_some(Format::Json(v1::JsonFormat {})),
        })
    }
}
