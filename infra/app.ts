/**
 * The CDK app: one stack for each site of the configuration file, and for each region that forwards events. `npx cdk synth -c config=FILE`; without one it reads
 * farshore-site.toml of the current directory. It needs no account and no network.
 */
import { join } from "node:path";
import { App, Validations } from "aws-cdk-lib";
import { Code } from "aws-cdk-lib/aws-lambda";
import { AwsSolutionsChecks } from "cdk-nag";
import { bundleFunctions } from "./bundle-functions.ts";
import { root } from "./folders.ts";
import { ForwardStack } from "./forward-stack.ts";
import { readConfig } from "./site-config.ts";
import { SiteStack } from "./site-stack.ts";

const app = new App();
const file: unknown = app.node.tryGetContext("config") ?? "farshore-site.toml";
const { folderOf } = await bundleFunctions(join(root, ".cache", "functions"));
const { sites, forwards } = readConfig(String(file));
for (const site of sites) new SiteStack(app, site, (folder) => Code.fromAsset(folderOf(folder)));
for (const forward of forwards) new ForwardStack(app, forward);
Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
app.synth();
