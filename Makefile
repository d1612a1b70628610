# Each target is one line; what is longer lives in scripts/.

.PHONY: run test lint docs

run: # build the server and start it; no key needed
	@scripts/run

test: # every test, and every step of the README
	@scripts/test

lint: # format, clippy, dependencies, contract, generated files
	@scripts/lint

docs: # the API documentation of the crates, in target/doc
	cargo doc --workspace --no-deps --locked
