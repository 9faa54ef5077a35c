#!/usr/bin/env node
// Entry of the published bundle: the check of Node's version runs before anything that an old Node cannot read is loaded.
import "./require-node.mjs";

await import("../cli/main.ts");
