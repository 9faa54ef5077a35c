import type { Command } from "commander";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { contextOf } from "../context.ts";
import { fewerCollections } from "../steady-memory.ts";
import { untilStopped } from "../until-stopped.ts";
import { registerSiteCheck } from "./site-check.ts";
import { registerSitePeer } from "./site-peer.ts";
import { registerSiteRebuild } from "./site-rebuild.ts";

interface ServeOptions {
  readonly data: string;
  readonly name: string;
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly notifyCommand?: string;
}

export function registerSite(program: Command): void {
  const site = program
    .command("site")
    .description("Run an embedded site, mend one from its bucket, check its limits, name its peers.");
  registerSiteCheck(site);
  registerSitePeer(site);

  site
    .command("serve")
    .requiredOption("--data <dir>", "the site's directory: its bucket, table and executions; made if absent")
    .requiredOption("--name <name>", "the site's name")
    .option(
      "--listen <address>",
      "address and port; anything but loopback needs --tls-cert and --tls-key",
      "127.0.0.1:7700",
    )
    .option("--tls-cert <file>", "certificate chain, PEM")
    .option("--tls-key <file>", "private key, PEM")
    .option(
      "--notify-command <program>",
      "run for each notice to people, which it gets as JSON on its standard input; without it they stand in the log",
    )
    .description("Serve a site from a data directory until stopped.")
    .addHelpText(
      "after",
      "\nThe first start writes an operator's token to <dir>/operator.token.\n\nExample:\n  farshore site serve --data /srv/farshore/berlin --name berlin\n",
    )
    .action(async (options: ServeOptions, command: Command) => {
      const { output } = contextOf(command);
      const name = nameSchema.safeParse(options.name);
      if (!name.success) throw new InvalidInput(`--name ${options.name}: 1 to 63 of a-z, 0-9 and inner hyphens`);
      if ((options.tlsCert === undefined) !== (options.tlsKey === undefined)) {
        throw new InvalidInput("--tls-cert and --tls-key go together");
      }
      fewerCollections();
      const { serveSite } = await import("../site/serve.ts");
      const served = await serveSite({
        dataDir: options.data,
        name: name.data,
        listen: options.listen,
        ...(options.notifyCommand === undefined ? {} : { notifyCommand: options.notifyCommand }),
        ...(options.tlsCert !== undefined && options.tlsKey !== undefined
          ? { tls: { cert: options.tlsCert, key: options.tlsKey } }
          : {}),
      });
      output.note(
        `site ${name.data} (${served.siteId}) serves ${served.url}; operator's token in ${served.operatorTokenFile}`,
      );
      await untilStopped(served);
    });

  registerSiteRebuild(site);
}
