# Every target sets up what it needs. `make` alone lists them.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.installed

.PHONY: help up down test attack chaos mutate check generate bench scale screenshot bundle clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(INSTALLED) ## Start host, relay, registrar and bridge here, and run a first chat; RELAYS=3 makes it three relays
	@node services/cli/src/main.ts up $(if $(RELAYS),--relays $(RELAYS))

down: $(INSTALLED) ## Stop what `make up` started
	@node services/cli/src/main.ts down

test: $(INSTALLED) ## Prove the system
	@scripts/install-browser
	@node scripts/test.ts

attack: $(INSTALLED) ## Attack the running programs at length, and print what holds
	@node scripts/attack.ts

chaos: $(INSTALLED) ## Kill, stop and cut off running programs under 10,000 calls; SEED=<seed> repeats a run
	@node scripts/chaos.ts $(SEED)

mutate: $(INSTALLED) ## Change critical code in small ways, and print what no test notices
	@node scripts/mutate.ts

check: $(INSTALLED) ## Formatting, lint, types, contracts, generated code
	@node scripts/check.ts

generate: $(INSTALLED) ## Write the generated code anew
	@buf generate
	@node scripts/schema-types.ts
	@node scripts/errors-page.ts
	@node scripts/metrics-page.ts
	@node scripts/requirements-page.ts

bench: $(INSTALLED) ## Measure against baselines of the same run
	@node bench/run.ts

scale: $(INSTALLED) ## Simulate a million devices on 50 relay pods, and write docs/scale.md
	@node --disable-warning=ExperimentalWarning bench/scale/main.ts

screenshot: $(INSTALLED) ## Take the pictures of the console in the README
	@scripts/install-browser
	@node scripts/bundle.ts
	@node scripts/screenshot.ts

bundle: $(INSTALLED) ## Production bundles of the services, in dist/
	@node scripts/bundle.ts

clean: ## Remove what was installed, built and measured
	@rm -rf node_modules dist bench/out

$(INSTALLED): package-lock.json .npmrc
	@scripts/install
	@touch $@
