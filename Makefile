# Each target is one line; what is longer lives in scripts/.

.PHONY: run test test-engines bench lint docs

run: # build the server and start it; no key needed
	@scripts/run

test: # every test, and every step of the README
	@scripts/test

test-engines: # the same answers from real engines, built on the spot: a quarter of an hour the first time
	@scripts/test-engines

bench: # what a call costs beside the least program that does the same; make bench ARGS=--quick
	@scripts/bench $(ARGS)

lint: # format, clippy, dependencies, contract, generated files
	@scripts/lint

docs: # the API documentation of the crates, in target/doc
	cargo doc --workspace --no-deps --locked
