import type { Command } from "commander";
import { InvalidInput } from "#core/errors.ts";
import { type Output, standardOutput } from "./output.ts";
import { SiteClient } from "./site-client.ts";

interface GlobalOptions {
  readonly site: string;
  readonly token?: string;
  readonly json?: boolean;
  readonly yes?: boolean;
}

/** What a command needs of the global options; the client is made only when a command talks to a site. */
export interface Context {
  readonly output: Output;
  readonly yes: boolean;
  client(): SiteClient;
}

export function contextOf(command: Command): Context {
  const options = command.optsWithGlobals<GlobalOptions>();
  return {
    output: standardOutput(options.json === true),
    yes: options.yes === true,
    client() {
      if (options.token === undefined || options.token === "") {
        throw new InvalidInput(
          "no token: set FARSHORE_TOKEN (or give --token, which other users of this machine can see)",
        );
      }
      return new SiteClient(options.site, options.token);
    },
  };
}
