import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { AwsAccount } from "./account.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const cdkProgram = join(root, "node_modules/aws-cdk/bin/cdk");
/** The longest is a deployment to AWS: some hundred resources. */
const cdkMsMax = 1_200_000;

/** Runs the CDK's own program as a deployer does; rejects with all it said when it fails. */
async function cdk(
  args: readonly string[],
  { folder, home }: { readonly folder: string; readonly home: string },
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const path = [dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter);
  const options = {
    cwd: folder,
    timeout: cdkMsMax,
    maxBuffer: 64 * 1024 * 1024,
    // What it remembers of accounts is not this machine's user's.
    env: { ...process.env, PATH: path, CDK_HOME: join(home, ".cdk"), CDK_DISABLE_VERSION_CHECK: "1", ...env },
  };
  await new Promise<void>((resolve, reject) => {
    execFile(process.execPath, [cdkProgram, ...args, "--no-notices"], options, (error, stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`cdk ${args.join(" ")}\n${stdout}\n${stderr}`, { cause: error }));
    });
  });
}

/** The app's templates and bundles for the sites of a configuration file; needs no AWS. Returns the folder that holds them. */
export async function synthesize(config: string, folder: string): Promise<string> {
  const output = join(folder, "cdk.out");
  await cdk(
    ["synth", "--quiet", "--output", output, "--context", `config=${config}`],
    { folder: root, home: folder },
    {},
  );
  return output;
}

/** Once an account and region; run where no app is, or the CDK would synthesize it first. */
export async function bootstrap({ accountId, region, env }: AwsAccount, folder: string): Promise<void> {
  await cdk(["bootstrap", `aws://${accountId}/${region}`], { folder, home: folder }, env);
}

const outputsSchema = z.record(z.string(), z.record(z.string(), z.string()));

/** Deploys one stack of what was synthesized; its outputs. */
export async function deploy(
  stack: string,
  { accountId, region, env }: AwsAccount,
  synthesized: string,
): Promise<Readonly<Record<string, string>>> {
  const file = `${synthesized}-${stack}.outputs.json`;
  const where = { ...env, CDK_DEFAULT_ACCOUNT: accountId, CDK_DEFAULT_REGION: region };
  const how = ["--require-approval", "never", "--outputs-file", file];
  const folder = dirname(synthesized);
  await cdk(["deploy", stack, "--app", synthesized, ...how], { folder, home: folder }, where);
  return outputsSchema.parse(JSON.parse(readFileSync(file, "utf8")))[stack] ?? {};
}

export async function destroy(stack: string, { env }: AwsAccount, synthesized: string): Promise<void> {
  const folder = dirname(synthesized);
  await cdk(["destroy", stack, "--force", "--app", synthesized], { folder, home: folder }, env);
}
