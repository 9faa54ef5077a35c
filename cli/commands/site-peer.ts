import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { z } from "zod";
import { keepPeerToken } from "#adapters/embedded/peer-tokens.ts";
import { InvalidInput } from "#core/errors.ts";
import { type Peer, peerSchema } from "#core/protection/peer.ts";
import { livePeers, readPeers } from "#core/protection/peers.ts";
import { askPeer, type PeerReach, peerRegion, reachability, reachText } from "../ask-peer.ts";
import { contextOf } from "../context.ts";
import { openBucket } from "../offline.ts";
import { columns, fields, type Output, result, timeText } from "../output.ts";

const listSchema = z.object({ peers: z.array(peerSchema) });
const pathOf = (name: string): string => `/v1/peers/${encodeURIComponent(name)}`;

/** The token that `--check` and `add` show to a peer that knows callers by tokens. */
export const peerToken = (): Option =>
  new Option("--peer-token <token>", "who you are at a peer that takes tokens; better by the variable").env(
    "FARSHORE_PEER_TOKEN",
  );

interface AddOptions {
  readonly url: string;
  readonly region?: string;
  readonly journal: "yes" | "no";
  readonly unchecked?: true;
  readonly tokenFile?: string;
  readonly data?: string;
  readonly peerToken?: string;
}

interface ShowOptions {
  readonly check?: true;
  readonly peerToken?: string;
}

export function registerSitePeer(site: Command): void {
  const peer = site
    .command("peer")
    .description("Say which other sites there are; a VPG's protected_site of the same name is that site.");

  peer
    .command("add")
    .argument("<name>", "what VPGs call it as their protected_site")
    .requiredOption("--url <url>", "its API for people: what --site takes")
    .option("--region <region>", "sign requests to it for this region, when its URL does not say it")
    .addOption(new Option("--journal <yes|no>", "may VPGs be journaled there").choices(["yes", "no"]).default("yes"))
    .option("--unchecked", "do not ask it who it is; add it again without this later")
    .option(
      "--token-file <file>",
      "what an embedded site shows to the peer in reverse protection: a token of its role peer",
    )
    .option("--data <dir>", "the site's data directory, where that token is kept")
    .addOption(peerToken())
    .description("Make a peer known, or change what is known of it; it is asked who it is.")
    .addHelpText(
      "after",
      "\nThis command asks the peer with your own credentials there; the site itself calls\nit in reverse protection only, by the token of --token-file or, on AWS, by its role.\n\nExamples:\n  farshore site peer add paris --url https://….lambda-url.eu-west-3.on.aws\n  FARSHORE_PEER_TOKEN=... farshore site peer add lyon --url https://lyon.example.com:7700 --journal no\n",
    )
    .action(async (name: string, options: AddOptions, command: Command) => {
      const { output, client } = contextOf(command);
      const { url, journal } = options;
      const region = peerRegion(url, options.region);
      const own = client();
      if ((options.tokenFile === undefined) !== (options.data === undefined)) {
        throw new InvalidInput("--token-file and --data belong together: the token is kept beside the site's data");
      }
      const siteId = options.unchecked === true ? null : await identityOf(output, name, { url, region }, options);
      const ask = { name, siteId, url, region, journal: journal === "yes" };
      const added = await own.post("/v1/peers", peerSchema, ask);
      if (options.tokenFile !== undefined && options.data !== undefined) {
        await keepPeerToken(options.data, name, await readFile(options.tokenFile, "utf8"));
      }
      result(output, added, () => print(output, added));
    });

  peer
    .command("list")
    .option("--offline <dir>", "read a site's data directory instead of asking the site: needs nothing but its bucket")
    .description("List the peers of the site.")
    .addHelpText("after", "\nExample:\n  farshore site peer list\n")
    .action(async ({ offline }: { readonly offline?: string }, command: Command) => {
      const { output, client } = contextOf(command);
      const peers =
        offline === undefined
          ? (await client().get("/v1/peers", listSchema)).peers
          : livePeers(await readPeers(await openBucket(offline)));
      result(output, peers, () => peerColumns(output, peers));
    });

  peer
    .command("show")
    .argument("<name>", "of the peer")
    .option("--check", "ask it whether it is there and who it is")
    .addOption(peerToken())
    .description("Show one peer.")
    .addHelpText("after", "\nExample:\n  farshore site peer show paris\n")
    .action(async (name: string, options: ShowOptions, command: Command) => {
      const { output, client } = contextOf(command);
      const shown = await client().get(pathOf(name), peerSchema);
      const reach = options.check === true ? await reachability(shown, options.peerToken) : undefined;
      if (reach?.reachable === false) process.exitCode = 1;
      result(output, { ...shown, ...(reach === undefined ? {} : { reach }) }, () => print(output, shown, reach));
    });

  peer
    .command("remove")
    .argument("<name>", "of the peer")
    .description("Forget a peer that no VPG names as its protected site.")
    .addHelpText("after", "\nExample:\n  farshore site peer remove paris\n")
    .action(async (name: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      await client().delete(pathOf(name), z.object({}));
      result(output, { removed: name }, () => output.line(`${name} is no peer any more`));
    });
}

async function identityOf(
  output: Output,
  name: string,
  place: Pick<Peer, "url" | "region">,
  { peerToken: token }: AddOptions,
): Promise<Peer["siteId"]> {
  try {
    const identity = await askPeer(place, token);
    if (identity.name !== name) output.note(`the site at ${place.url} calls itself ${identity.name}`);
    return identity.siteId;
  } catch (error) {
    output.note("the peer did not say who it is; --unchecked adds it without asking");
    throw error;
  }
}

function print(output: Output, peer: Peer, reach?: PeerReach): void {
  fields(output, [
    ["Peer", `${peer.name} (${peer.siteId ?? "not asked who it is"})`],
    ["URL", peer.url],
    ["Requests", peer.region === null ? "show a token" : `are signed for ${peer.region}`],
    ["Journal", peer.journal ? "yes" : "no"],
    ["Reachable", reachText(reach)],
    ["Changed", `${timeText(peer.changedAt)} by ${peer.initiatedBy}`],
  ]);
}

/** Also of `status`, with what came of asking the peers. */
export function peerColumns(output: Output, peers: readonly Peer[], asked?: readonly PeerReach[]): void {
  columns(
    output,
    ["PEER", "SITE", "JOURNAL", "URL", ...(asked === undefined ? [] : ["REACHABLE"])],
    peers.map(({ name, siteId, journal, url }) => [
      ...[name, siteId ?? "-", journal ? "yes" : "no", url],
      ...(asked === undefined ? [] : [reachText(asked.find((reach) => reach.name === name))]),
    ]),
  );
}
