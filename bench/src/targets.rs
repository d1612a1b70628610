//! Who is measured: the vendor behind everything, the yardstick, and Mediary or another gateway.

use std::{
    env, fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
};

use crate::{
    Result,
    load::Caller,
    openai::Peer,
    process::{Server, Watched, free_address},
};

/// A server under test, and how it is called.
pub struct Target {
    pub caller: Caller,
    pub watched: Watched,
    /// `None`: somebody else started it.
    pub server: Option<Server>,
}

/// A server that ends with this value.
pub struct Listening {
    pub address: SocketAddr,
    _server: Server,
}

/// Where the processes keep what they need; removed at the end.
pub struct Bench {
    folder: PathBuf,
    programs: PathBuf,
    mediary: PathBuf,
    vendor: SocketAddr,
    _vendor: Option<Server>,
}

impl Bench {
    /// Starts the vendor, unless one listens at `vendor` already.
    pub fn new(mediary: Option<PathBuf>, vendor: Option<SocketAddr>) -> Result<Self> {
        let programs = env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
        let folder = env::temp_dir().join(format!("mediary-bench-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let address = vendor.map_or_else(free_address, Ok)?;
        let server = if vendor.is_some() && TcpStream::connect(address).is_ok() {
            None
        } else {
            let mut command = Command::new(programs.join("mediary-bench-vendor"));
            command.arg(address.to_string());
            Some(Server::start(command, address, &folder.join("vendor.log"))?)
        };
        let mediary = mediary.unwrap_or_else(|| programs.join("mediary"));
        let bench = Self { folder, programs, mediary, vendor: address, _vendor: server };
        write_catalog(&bench.folder, &bench.base_uri())?;
        Ok(bench)
    }

    /// The vendor, called as the servers under test call it.
    pub fn direct(&self, whole_streams: bool) -> Caller {
        Caller::OpenAi(Arc::new(Peer {
            address: self.vendor.to_string(),
            base_path: "/v1".to_owned(),
            model: "{}".to_owned(),
            headers: Vec::new(),
            whole_streams,
        }))
    }

    pub fn yardstick(&self) -> Result<Target> {
        let address = free_address()?;
        let mut command = Command::new(self.programs.join("mediary-bench-yardstick"));
        command.arg(address.to_string()).arg(self.base_uri());
        self.target(command, address, "yardstick.log")
    }

    /// With its defaults, a provider row, and an account with a key.
    pub fn mediary(&self) -> Result<Target> {
        let address = free_address()?;
        self.target(self.serve(&self.folder, address), address, "mediary.log")
    }

    /// The same, before another vendor.
    pub fn mediary_before(&self, vendor: SocketAddr) -> Result<Listening> {
        let folder = self.folder.join("before");
        write_catalog(&folder, &format!("http://{vendor}/v1"))?;
        let address = free_address()?;
        let command = self.serve(&folder, address);
        let server = Server::start(command, address, &self.folder.join("before.log"))?;
        Ok(Listening { address, _server: server })
    }

    fn serve(&self, folder: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(&self.mediary);
        command.arg("serve").arg("--config").arg(folder.join("mediary.toml"));
        command.arg("--listen").arg(address.to_string());
        command
    }

    fn target(&self, command: Command, address: SocketAddr, log: &str) -> Result<Target> {
        let server = Server::start(command, address, &self.folder.join(log))?;
        let caller = Caller::Grpc(address);
        Ok(Target { caller, watched: server.watched(), server: Some(server) })
    }

    fn base_uri(&self) -> String {
        format!("http://{}/v1", self.vendor)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write_catalog(folder: &Path, base_uri: &str) -> Result<()> {
    let catalog = folder.join("catalog");
    fs::create_dir_all(catalog.join("providers"))?;
    fs::create_dir_all(catalog.join("models"))?;
    fs::write(
        folder.join("mediary.toml"),
        "[catalog]\ndirectory = \"catalog\"\n\n\
         [[accounts]]\nid = \"bench\"\nprovider = \"bench\"\napi_key = \"sk-bench\"\n",
    )?;
    fs::write(
        catalog.join("providers/bench.toml"),
        format!(
            "id = \"bench\"\ndisplay_name = \"Bench\"\ndialect = \"openai_chat\"\n\
             base_uri = \"{base_uri}\"\n"
        ),
    )?;
    let models = ["one", "many", "paced", "hang"].map(|id| {
        format!(
            "[[models]]\nid = \"{id}\"\nprovider_model_id = \"{id}\"\n\
             capabilities = [\"text-to-text\"]\ninput_kinds = [\"text\"]\n\
             output_kinds = [\"text\"]\nfeatures = [\"streaming\"]\n\
             prices = [{{ unit = \"input-token\", micro_usd_per_million = 150000 }}, \
             {{ unit = \"output-token\", micro_usd_per_million = 600000 }}]\n"
        )
    });
    fs::write(catalog.join("models/bench.toml"), models.join("\n"))?;
    Ok(())
}
