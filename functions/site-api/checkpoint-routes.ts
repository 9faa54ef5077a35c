import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import {
  type CheckpointFilter,
  listCheckpoints,
  nearestCheckpoint,
  partsOf,
  resolveCheckpoint,
} from "#core/protection/checkpoints.ts";
import { getCommand, issueCommand } from "#core/protection/commands.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { definitionOfCheckpoint } from "#core/protection/definition-at.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { type CheckpointSelector, checkpointSelectorSchema } from "#core/protection/operation.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { checkpointView } from "#core/protection/vpg-view.ts";
import { callerText } from "#core/site.ts";
import { bodyJson, type HttpResult, json } from "../shared/http.ts";
import { httpLimits } from "../shared/limits.ts";
import { type Call, optionalNumber, wholeNumber } from "../shared/router.ts";

export async function getCheckpoints({ site, param, query }: Call): Promise<HttpResult> {
  const { vpgId } = await getVpg(site, param("ref"));
  const nearest = optionalNumber(query, "nearest");
  const page =
    nearest === undefined
      ? await listCheckpoints(site, vpgId, filterOf(query))
      : await nearestCheckpoint(site, vpgId, nearest);
  return json({ ...page, checkpoints: page.checkpoints.map(checkpointView) });
}

function filterOf(query: URLSearchParams): CheckpointFilter {
  const from = optionalNumber(query, "from");
  const to = optionalNumber(query, "to");
  const limit = optionalNumber(query, "limit");
  const cursor = query.get("cursor");
  if (limit === 0) throw new InvalidInput("limit must be at least 1", { field: "limit" });
  return {
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(limit === undefined ? {} : { limit }),
    ...(cursor === null ? {} : { cursor }),
    ...lostTailOf(query),
    tagged: query.get("tagged") === "true",
  };
}

export async function getResolved({ site, param, query }: Call): Promise<HttpResult> {
  const { vpgId, definition } = await getVpg(site, param("ref"));
  const checkpoint = await resolveCheckpoint(site, vpgId, selectorOf(query), lostTailOf(query).lostTail);
  const volumes = volumesOf(await definitionOfCheckpoint(site, definition, checkpoint.id));
  const resolved = { ...checkpointView(checkpoint), volumes };
  if (checkpoint.vector === null) return json(resolved);
  return json({ ...resolved, parts: await partsOf(site, vpgId, checkpoint.vector) });
}

/** `lostTail=OPERATION`: what its commit left behind, instead of the history. */
function lostTailOf(query: URLSearchParams): { readonly lostTail?: Id } {
  const lostTail = query.get("lostTail");
  return lostTail === null ? {} : { lostTail: parseInput(idSchema, lostTail) };
}

/** `kind=latest`, or `kind=id|time|tag` with its `value`. */
function selectorOf(query: URLSearchParams): CheckpointSelector {
  const kind = query.get("kind");
  const value = query.get("value") ?? "";
  const fields = kind === "latest" ? {} : { [kind ?? ""]: kind === "time" ? wholeNumber(value, "value") : value };
  return parseInput(checkpointSelectorSchema, { kind, ...fields });
}

const tagSchema = z.strictObject({ tag: z.string().min(1).max(limits.tagBytesMax) });

/** Asks the source gateway, of several the coordinator, for a tagged checkpoint; the caller looks at the command until it is done. */
export async function postCheckpoint({ site, event, param, caller }: Call): Promise<HttpResult> {
  const { tag } = parseInput(tagSchema, bodyJson(event, httpLimits.jsonBytesMax));
  if (Buffer.byteLength(tag) > limits.tagBytesMax) {
    throw new InvalidInput(`tag: at most ${limits.tagBytesMax} bytes`, { field: "tag" });
  }
  const { vpgId, definition, role } = await getVpg(site, param("ref"));
  if (role !== "Journal") throw new InvalidInput(`${definition.name} is not replicating to this site`);
  const commandId = `${newId(site.clock, site.random)}.tag`;
  const body = { kind: "tag-checkpoint", vpgId, tag } as const;
  const ask = { commandId, body, expiresInMs: limits.tagExpiryMs, initiatedBy: callerText(caller) };
  await issueCommand(site, definition.sourceGatewayId, ask);
  return json({ commandId }, 202);
}

export async function getCommandState({ site, param }: Call): Promise<HttpResult> {
  const { command, state, progress, result, error } = await getCommand(site, param("command"));
  return json({ commandId: command.commandId, state, progress, result, error });
}
